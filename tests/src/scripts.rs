//! Random order scripts: every operation, flag and phase, in ranges so small that orders collide.

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// What the orders of a script may use. Each script draws a subset of what it is allowed, because
/// features meet in more ways when not all of them are always there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a set of independent switches"
)]
pub struct Features {
    /// Iceberg orders.
    pub icebergs: bool,
    /// Stop, stop-limit and trailing-stop orders.
    pub stops: bool,
    /// Auction phases.
    pub auctions: bool,
    /// Mass quotes.
    pub quotes: bool,
    /// All-or-none orders.
    pub all_or_none: bool,
    /// Sharing algorithms.
    pub sharing: bool,
    /// Least quantity on entry.
    pub min_qty: bool,
    /// Budgets of fill-or-kill orders.
    pub budgets: bool,
    /// Self-trade modes.
    pub self_match: bool,
    /// Market protection.
    pub protection: bool,
    /// Day and good-till-date orders.
    pub expiry: bool,
    /// Halt and closed phases.
    pub halts: bool,
    /// Volatility interruptions.
    pub volatility: bool,
    /// Outcomes told while an auction collects.
    pub indications: bool,
    /// Malformed lines.
    pub malformed: bool,
    /// Prices and quantities at the ends of their ranges.
    pub extremes: bool,
}

impl Features {
    /// Everything.
    pub const ALL: Self = Self {
        icebergs: true,
        stops: true,
        auctions: true,
        quotes: true,
        all_or_none: true,
        sharing: true,
        min_qty: true,
        budgets: true,
        self_match: true,
        protection: true,
        expiry: true,
        halts: true,
        volatility: true,
        indications: true,
        malformed: true,
        extremes: true,
    };

    /// Each feature with even odds; a rare one more rarely. In every fourth script those that meet
    /// inside one level come together.
    fn draw(self, rng: &mut Pcg64Mcg) -> Self {
        let together = rng.random_bool(0.25);
        let mut keep = |wanted: bool, odds: f64| wanted && rng.random_bool(odds);
        if together {
            return Self {
                icebergs: keep(self.icebergs, 0.6),
                stops: keep(self.stops, 0.2),
                all_or_none: keep(self.all_or_none, 0.9),
                sharing: keep(self.sharing, 0.7),
                min_qty: keep(self.min_qty, 0.7),
                budgets: keep(self.budgets, 0.7),
                self_match: keep(self.self_match, 0.9),
                auctions: false,
                quotes: keep(self.quotes, 0.2),
                protection: false,
                expiry: false,
                halts: false,
                volatility: keep(self.volatility, 0.1),
                indications: false,
                malformed: false,
                extremes: false,
            };
        }
        Self {
            icebergs: keep(self.icebergs, 0.5),
            stops: keep(self.stops, 0.5),
            auctions: keep(self.auctions, 0.4),
            quotes: keep(self.quotes, 0.4),
            all_or_none: keep(self.all_or_none, 0.3),
            sharing: keep(self.sharing, 0.3),
            min_qty: keep(self.min_qty, 0.4),
            budgets: keep(self.budgets, 0.4),
            self_match: keep(self.self_match, 0.5),
            protection: keep(self.protection, 0.4),
            expiry: keep(self.expiry, 0.5),
            halts: keep(self.halts, 0.4),
            volatility: keep(self.volatility, 0.4),
            indications: keep(self.indications, 0.4),
            malformed: keep(self.malformed, 0.3),
            extremes: keep(self.extremes, 0.1),
        }
    }
}

/// The script of a seed: the same seed, features and length give the same lines on every machine.
#[must_use]
pub fn random_script(seed: u64, allowed: Features, commands: usize) -> Vec<String> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let features = allowed.draw(&mut rng);
    let mut writer = Writer {
        features,
        // Few prices make deep queues, many make sweeps across levels.
        spread: rng.random_range(1..=8),
        most: *[3, 10, 30].choose(&mut rng).unwrap_or(&10),
        parties: rng.random_range(2..=4),
        instruments: Vec::new(),
        next_id: 1,
        id_step: *[1, 1, 1, 7, 250, 1_000, 1 << 40]
            .choose(&mut rng)
            .unwrap_or(&1),
        clock: 0,
        lines: Vec::new(),
        rng,
    };
    if writer.rng.random_bool(0.8) {
        for _ in 0..writer.rng.random_range(1..=3) {
            writer.instrument();
        }
    }
    while writer.lines.len() < commands {
        writer.command();
    }
    writer.lines
}

/// Fields of one line: name and JSON text.
type Fields = Vec<(&'static str, String)>;

struct Writer {
    rng: Pcg64Mcg,
    features: Features,
    spread: i64,
    most: i64,
    parties: usize,
    instruments: Vec<String>,
    next_id: i64,
    /// From one id to the next: clients number their orders in many ways.
    id_step: i64,
    clock: i64,
    lines: Vec<String>,
}

impl Writer {
    fn command(&mut self) {
        if self.rng.random_bool(0.01) {
            let text = *["", "   ", "# nothing", "\t# {\"op\":\"time\",\"t\":99}"]
                .choose(&mut self.rng)
                .unwrap_or(&"");
            return self.lines.push(text.to_owned());
        }
        match self.rng.random_range(0..100) {
            0..48 => self.new_order(),
            48..58 => self.cancel(),
            58..65 => self.reduce(),
            65..78 => self.replace(),
            78..80 => self.mass_cancel(),
            80..87 if self.features.quotes => self.mass_quote(),
            87..92 => self.phase(),
            92..94 => self.time(),
            94..96 => self.depth(),
            96..98 => self.orders(),
            98 => self.instrument(),
            99 if self.features.halts => self.restart(),
            _ => self.new_order(),
        }
    }

    fn instrument(&mut self) {
        let name = match self.rng.random_range(0..20) {
            0 => "SIM".to_owned(),
            1 => "\u{e4}\\\"x".to_owned(),
            n => format!("I{}", n % 6),
        };
        let mut fields = vec![("op", text("instrument")), ("instrument", text(&name))];
        if self.rng.random_bool(0.2) {
            fields.push(("tick", self.rng.random_range(1..=3).to_string()));
        }
        if self.rng.random_bool(0.2) {
            fields.push(("lot", self.rng.random_range(1..=3).to_string()));
        }
        if self.rng.random_bool(0.15) {
            fields.push((
                "min_price",
                (CENTRE - self.rng.random_range(0..9)).to_string(),
            ));
        }
        if self.rng.random_bool(0.15) {
            fields.push((
                "max_price",
                (CENTRE + self.rng.random_range(0..9)).to_string(),
            ));
        }
        if self.rng.random_bool(0.1) {
            fields.push(("min_qty", self.rng.random_range(1..=4).to_string()));
        }
        if self.rng.random_bool(0.1) {
            fields.push(("max_qty", self.rng.random_range(2..=20).to_string()));
        }
        if self.rng.random_bool(0.2) {
            let price = self.price();
            fields.push(("ref_price", price));
        }
        if self.features.protection && self.rng.random_bool(0.6) {
            fields.push(("protect", self.rng.random_range(0..=4).to_string()));
        }
        if self.features.sharing && self.rng.random_bool(0.8) {
            let algo = *["fifo", "pro_rata", "top_pro_rata", "split"]
                .choose(&mut self.rng)
                .unwrap_or(&"fifo");
            fields.push(("algo", text(algo)));
            for (field, top) in [
                ("min_alloc", 3),
                ("top_min", 5),
                ("top_max", 6),
                ("fifo_pct", 100),
            ] {
                if self.rng.random_bool(0.5) {
                    let least = i32::from(field != "fifo_pct");
                    fields.push((field, self.rng.random_range(least..=top).to_string()));
                }
            }
        }
        if self.features.volatility && self.rng.random_bool(0.8) {
            let half = self.rng.random_range(0..40);
            if half != 0 {
                fields.push(("vi_band", self.rng.random_range(1..=5).to_string()));
            }
            if half != 1 {
                fields.push(("vi_ns", self.rng.random_range(1..=9).to_string()));
            }
        }
        if self.features.indications && self.rng.random_bool(0.8) {
            fields.push(("indicative", "true".to_owned()));
        }
        if self.features.extremes && self.rng.random_bool(0.3) {
            fields.push(("min_price", (-i64::MAX).to_string()));
        }
        self.instruments.push(name);
        self.push(fields);
    }

    fn new_order(&mut self) {
        let id = if self.rng.random_bool(0.92) {
            self.fresh_id()
        } else {
            self.known_id()
        };
        let kind = match self.rng.random_range(0..20) {
            0..2 => "market",
            2..5 if self.features.icebergs => "iceberg",
            5..7 if self.features.stops => "stop",
            7..9 if self.features.stops => "stop_limit",
            9 if self.features.stops => "trailing_stop",
            _ => "limit",
        };
        let qty = self.qty();
        let mut fields = vec![
            ("op", text("new")),
            ("id", id),
            ("party", self.party()),
            ("side", self.side()),
            ("qty", qty.to_string()),
        ];
        if kind != "limit" || self.rng.random_bool(0.1) {
            fields.push(("type", text(kind)));
        }
        if matches!(kind, "limit" | "iceberg" | "stop_limit") {
            fields.push(("price", self.price()));
        }
        if kind == "iceberg" {
            // The engine bounds the number of slices.
            let least = 1 + qty / 1000;
            let display = least + self.rng.random_range(0..qty.min(4)).min(qty - least);
            fields.push(("display", display.to_string()));
        }
        if matches!(kind, "stop" | "stop_limit") {
            fields.push(("stop", self.price()));
        }
        if kind == "trailing_stop" {
            fields.push(("trail", self.rng.random_range(1..=3).to_string()));
        }
        let tif = match self.rng.random_range(0..20) {
            0..3 => "ioc",
            3..5 => "fok",
            5..7 if self.features.expiry && kind != "market" => "day",
            7..9 if self.features.expiry && kind != "market" => "gtd",
            9 if kind != "market" => "gtc",
            _ => "",
        };
        if !tif.is_empty() {
            fields.push(("tif", text(tif)));
        }
        if tif == "gtd" {
            fields.push((
                "expire",
                (self.clock + self.rng.random_range(-2..=12))
                    .max(0)
                    .to_string(),
            ));
        }
        let immediate = matches!(tif, "ioc" | "fok");
        let plain = matches!(kind, "limit" | "iceberg") && !immediate;
        if plain && self.rng.random_bool(0.1) {
            fields.push(("post_only", "true".to_owned()));
        } else if self.features.all_or_none && kind != "iceberg" && self.rng.random_bool(0.2) {
            fields.push(("aon", "true".to_owned()));
        } else if self.features.min_qty && self.rng.random_bool(0.2) {
            fields.push(("min_qty", self.rng.random_range(1..=qty).to_string()));
        }
        if tif == "fok" && self.features.budgets && self.rng.random_bool(0.7) {
            let budget = i128::from(qty) * i128::from(CENTRE + self.rng.random_range(-3..=3));
            fields.push(("budget", budget.min(i128::from(i64::MAX)).to_string()));
        }
        self.push_self_match(&mut fields);
        self.push_instrument(&mut fields);
        self.push(fields);
    }

    fn cancel(&mut self) {
        let mut fields = vec![("op", text("cancel")), ("id", self.known_id())];
        self.push_owner(&mut fields);
        self.push(fields);
    }

    fn reduce(&mut self) {
        let by = self.qty().to_string();
        let mut fields = vec![("op", text("reduce")), ("id", self.known_id()), ("by", by)];
        self.push_owner(&mut fields);
        self.push(fields);
    }

    fn replace(&mut self) {
        let mut fields = vec![("op", text("replace")), ("id", self.known_id())];
        if self.rng.random_bool(0.6) {
            fields.push(("price", self.price()));
        }
        if self.rng.random_bool(0.5) {
            let qty = if self.rng.random_bool(0.05) {
                0
            } else if self.features.icebergs {
                self.rng.random_range(1..=self.most) // no more slices than the engine allows
            } else {
                self.qty()
            };
            fields.push(("qty", qty.to_string()));
        }
        if self.features.stops && self.rng.random_bool(0.2) {
            fields.push(("stop", self.price()));
        }
        if self.rng.random_bool(0.2) {
            let id = if self.rng.random_bool(0.7) {
                self.fresh_id()
            } else {
                self.known_id()
            };
            fields.push(("new_id", id));
        }
        self.push_owner(&mut fields);
        self.push(fields);
    }

    fn mass_cancel(&mut self) {
        let mut fields = vec![("op", text("mass_cancel"))];
        if self.rng.random_bool(0.7) {
            fields.push(("party", self.party()));
        }
        if self.rng.random_bool(0.4) {
            fields.push(("side", self.side()));
        }
        self.push_instrument(&mut fields);
        self.push(fields);
    }

    fn mass_quote(&mut self) {
        let entries: Vec<String> = (0..self.rng.random_range(0..=3))
            .map(|_| self.quote())
            .collect();
        let mut fields = vec![
            ("op", text("mass_quote")),
            ("party", self.party()),
            ("quotes", format!("[{}]", entries.join(","))),
        ];
        if self.rng.random_bool(0.5) {
            fields.push(("keep_priority", "true".to_owned()));
        }
        if self.rng.random_bool(0.2) {
            fields.push(("post_only", "true".to_owned()));
        }
        self.push_self_match(&mut fields);
        self.push(fields);
    }

    fn quote(&mut self) -> String {
        let mut fields = Vec::new();
        self.push_instrument(&mut fields);
        for (id, price, qty) in [
            ("bid_id", "bid_price", "bid_qty"),
            ("ask_id", "ask_price", "ask_qty"),
        ] {
            if self.rng.random_bool(0.15) {
                continue;
            }
            let lots = if self.rng.random_bool(0.1) {
                0
            } else {
                self.qty()
            };
            fields.push((qty, lots.to_string()));
            if self.rng.random_bool(0.97) {
                let fresh = self.rng.random_bool(0.7);
                fields.push((
                    id,
                    if fresh {
                        self.fresh_id()
                    } else {
                        self.known_id()
                    },
                ));
            }
            // Two sides that seldom cross each other, around a centre that the orders share.
            let away = self.rng.random_range(0..=self.spread.min(3));
            let value = if id == "bid_id" {
                CENTRE - away
            } else {
                CENTRE + away
            };
            fields.push((price, value.to_string()));
        }
        object(&fields)
    }

    fn phase(&mut self) {
        let mut phases = vec!["continuous", "continuous", "continuous"];
        if self.features.auctions {
            phases.extend(["auction", "auction"]);
        }
        if self.features.halts {
            phases.extend(["halt", "closed"]);
        }
        let phase = *phases.choose(&mut self.rng).unwrap_or(&"continuous");
        let mut fields = vec![("op", text("phase")), ("phase", text(phase))];
        if self.rng.random_bool(0.2) {
            fields.push(("ref_price", self.price()));
        }
        self.push_instrument(&mut fields);
        self.push(fields);
    }

    fn time(&mut self) {
        self.clock += self.rng.random_range(-1..=6);
        self.clock = self.clock.max(0);
        self.push(vec![("op", text("time")), ("t", self.clock.to_string())]);
    }

    fn restart(&mut self) {
        if self.rng.random_bool(0.4) {
            return self.push(vec![("op", text("reopen"))]);
        }
        let mut fields = vec![("op", text("restart"))];
        if self.rng.random_bool(0.8) {
            self.clock += self.rng.random_range(0..=8);
            fields.push(("t", self.clock.to_string()));
        }
        for field in ["hold", "grace"] {
            if self.rng.random_bool(0.6) {
                fields.push((field, self.rng.random_range(0..=5).to_string()));
            }
        }
        self.push(fields);
    }

    fn depth(&mut self) {
        let mut fields = vec![("op", text("depth"))];
        if self.rng.random_bool(0.5) {
            fields.push(("levels", self.rng.random_range(0..=3).to_string()));
        }
        self.push_instrument(&mut fields);
        self.push(fields);
    }

    fn orders(&mut self) {
        let mut fields = vec![("op", text("orders"))];
        if self.rng.random_bool(0.3) {
            fields.push(("party", self.party()));
        }
        self.push_instrument(&mut fields);
        self.push(fields);
    }

    fn push(&mut self, mut fields: Fields) {
        if self.rng.random_bool(0.08) && fields.iter().all(|(name, _)| *name != "t") {
            self.clock = (self.clock + self.rng.random_range(-1..=3)).max(0);
            fields.push(("t", self.clock.to_string()));
        }
        let line = if self.features.malformed && self.rng.random_bool(0.15) {
            self.malform(fields)
        } else {
            object(&fields)
        };
        self.lines.push(line);
    }

    fn malform(&mut self, mut fields: Fields) -> String {
        let at = self.rng.random_range(0..fields.len());
        match self.rng.random_range(0..12) {
            0 => drop(fields.remove(at)),
            1 => fields[at].1 = "null".to_owned(),
            2 => fields[at].1 = format!("{}.0", self.rng.random_range(0..9)),
            3 => fields[at].1 = text("5"),
            4 => fields[at].1 = "true".to_owned(),
            5 => fields[at].1 = "-1".to_owned(),
            6 => fields[at].1 = "0".to_owned(),
            7 => fields[at].1 = "9223372036854775808".to_owned(),
            8 => fields.push(("pirce", "5".to_owned())),
            9 => fields.push(fields[at].clone()),
            10 => fields[at].1 = text("frobnicate"),
            _ => {
                let line = object(&fields);
                return match self.rng.random_range(0..4) {
                    0 => line[..line.len() - 1].to_owned(),
                    1 => format!("[{line}]"),
                    2 => format!("{line}x"),
                    _ => "\u{fc}".to_owned(),
                };
            }
        }
        object(&fields)
    }

    fn push_instrument(&mut self, fields: &mut Fields) {
        if self.rng.random_bool(0.02) {
            fields.push(("instrument", text("nowhere")));
        } else if self.rng.random_bool(0.6)
            && let Some(name) = self.instruments.choose(&mut self.rng)
        {
            fields.push(("instrument", text(name)));
        }
    }

    fn push_owner(&mut self, fields: &mut Fields) {
        if self.rng.random_bool(0.1) {
            fields.push(("party", self.party()));
        }
    }

    fn push_self_match(&mut self, fields: &mut Fields) {
        if self.features.self_match && self.rng.random_bool(0.6) {
            let mode = *[
                "none",
                "cancel_new",
                "cancel_old",
                "cancel_both",
                "decrement",
            ]
            .choose(&mut self.rng)
            .unwrap_or(&"none");
            fields.push(("stp", text(mode)));
        }
    }

    fn fresh_id(&mut self) -> String {
        // Now and then far ahead, as after a restart, or in the gap between two.
        self.next_id += match self.rng.random_range(0..60) {
            0 => self.id_step * 5_000,
            _ => self.id_step,
        };
        self.next_id.to_string()
    }

    /// An id used lately, so probably live.
    fn known_id(&mut self) -> String {
        let back = self.rng.random_range(0..30) * self.id_step;
        let between = if self.rng.random_bool(0.02) { 1 } else { 0 };
        (self.next_id - back + between).max(1).to_string()
    }

    fn party(&mut self) -> String {
        let names = ["A", "B", "C", "D \\\"\u{1F680}\\\""];
        let number = self.rng.random_range(0..self.parties);
        format!("\"{}\"", names[number.min(names.len() - 1)])
    }

    fn side(&mut self) -> String {
        text(if self.rng.random_bool(0.5) {
            "buy"
        } else {
            "sell"
        })
    }

    fn price(&mut self) -> String {
        if self.features.extremes && self.rng.random_bool(0.1) {
            // A trailing stop beyond the largest price is another matter in every implementation.
            let count = if self.features.stops { 3 } else { 6 };
            let ends = [1, 0, -1, i64::MAX, -i64::MAX, i64::MAX - 1];
            return ends[..count]
                .choose(&mut self.rng)
                .unwrap_or(&1)
                .to_string();
        }
        (CENTRE + self.rng.random_range(-self.spread..=self.spread)).to_string()
    }

    fn qty(&mut self) -> i64 {
        if self.features.extremes && self.rng.random_bool(0.1) {
            return *[i64::MAX, i64::MAX - 1, i64::MAX / 2]
                .choose(&mut self.rng)
                .unwrap_or(&1);
        }
        self.rng.random_range(1..=self.most)
    }
}

/// The price around which everything happens.
const CENTRE: i64 = 100;

fn text(value: &str) -> String {
    // Names with escapes are written with them already.
    format!("\"{value}\"")
}

fn object(fields: &[(&'static str, String)]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", fields.join(","))
}
