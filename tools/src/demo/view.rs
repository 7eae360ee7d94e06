//! The terminal: one picture of [`Screen`], which is plain data.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table, TableState};
use tessera_types::{Aggressor, Price};

use crate::serve::Percentiles;

/// What is to be seen at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Screen {
    /// Where the exchange listens, as `HOST:PORT`.
    pub(crate) addr: String,
    /// The three next commands, each on its line.
    pub(crate) commands: Vec<String>,
    pub(crate) uptime: Duration,
    /// Last command sequenced.
    pub(crate) seq: u64,
    /// Commands that wait for the disk.
    pub(crate) lag: u64,
    pub(crate) orders: u64,
    pub(crate) trades: u64,
    pub(crate) contracts: Vec<ContractRow>,
    /// Best first, of the selected contract.
    pub(crate) bids: Vec<(Price, u64)>,
    /// Best first, of the selected contract.
    pub(crate) asks: Vec<(Price, u64)>,
    /// Newest first.
    pub(crate) tape: Vec<TapeRow>,
    pub(crate) sessions: Vec<SessionRow>,
    pub(crate) stages: Vec<(&'static str, Percentiles)>,
}

/// One contract of the list.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContractRow {
    pub(crate) name: String,
    /// Micro-USD per unit-hour of one tick; 0 when prices are plain ticks.
    pub(crate) tick_micro_usd: u32,
    pub(crate) bid: Option<Price>,
    pub(crate) ask: Option<Price>,
    pub(crate) last: Option<Price>,
    pub(crate) volume: u64,
    /// False while the mirror has no exact book.
    pub(crate) exact: bool,
}

/// One trade.
#[derive(Clone, Debug)]
pub(crate) struct TapeRow {
    pub(crate) name: String,
    pub(crate) tick_micro_usd: u32,
    pub(crate) price: Price,
    pub(crate) lots: u64,
    pub(crate) aggressor: Aggressor,
}

/// One participant.
#[derive(Clone, Debug)]
pub(crate) struct SessionRow {
    pub(crate) name: String,
    pub(crate) up: bool,
    pub(crate) orders: u64,
    pub(crate) fills: u64,
}

/// Draws the screen with contract number `selected` chosen. Fits 80 x 24; a larger terminal shows more
/// contracts, levels and trades.
pub(crate) fn draw(frame: &mut Frame, screen: &Screen, selected: usize) {
    let help_height = 1 + u16::try_from(screen.commands.len()).unwrap_or(0);
    let [title, books, panels, help] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(5),
        Constraint::Length(8),
        Constraint::Length(help_height),
    ])
    .areas(frame.area());
    let [contracts, ladder] =
        Layout::horizontal([Constraint::Min(58), Constraint::Length(22)]).areas(books);
    let [tape, sessions, latency] = Layout::horizontal([
        Constraint::Min(28),
        Constraint::Length(22),
        Constraint::Length(30),
    ])
    .areas(panels);
    frame.render_widget(title_line(screen), title);
    draw_contracts(frame, screen, selected, contracts);
    draw_ladder(frame, screen, selected, ladder);
    draw_tape(frame, screen, tape);
    draw_sessions(frame, screen, sessions);
    draw_latency(frame, screen, latency);
    frame.render_widget(help_lines(screen), help);
}

fn title_line(screen: &Screen) -> Paragraph<'static> {
    let seconds = screen.uptime.as_secs();
    let text = format!(
        " {:02}:{:02}  seq {}  journal lag {}  orders {}  trades {}",
        seconds / 60,
        seconds % 60,
        screen.seq,
        screen.lag,
        short(screen.orders),
        short(screen.trades),
    );
    Paragraph::new(Line::from(vec![
        " TESSERA demo ".bold().reversed(),
        text.into(),
    ]))
}

fn draw_contracts(frame: &mut Frame, screen: &Screen, selected: usize, area: Rect) {
    let price = |row: &ContractRow, price: Option<Price>| {
        price.map_or_else(|| "-".to_owned(), |price| money(price, row.tick_micro_usd))
    };
    let rows = screen.contracts.iter().map(|row| {
        let (bid, ask) = if row.exact {
            (price(row, row.bid), price(row, row.ask))
        } else {
            ("resync".to_owned(), "resync".to_owned())
        };
        Row::new([
            Cell::from(row.name.clone()),
            right(bid, 7).green(),
            right(ask, 7).red(),
            right(price(row, row.last), 7),
            right(short(row.volume), 5),
        ])
    });
    let header = Row::new([
        Cell::from("contract (USD/unit-hour)"),
        right("bid".to_owned(), 7),
        right("ask".to_owned(), 7),
        right("last".to_owned(), 7),
        right("lots".to_owned(), 5),
    ])
    .style(Style::new().add_modifier(Modifier::DIM));
    let widths = [
        Constraint::Min(20),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(5),
    ];
    let table = Table::new(rows, widths)
        .header(header)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .block(Block::bordered().title(" contracts "));
    let mut state = TableState::new().with_selected(Some(selected));
    frame.render_stateful_widget(table, area, &mut state);
}

fn draw_ladder(frame: &mut Frame, screen: &Screen, selected: usize, area: Rect) {
    let tick = screen
        .contracts
        .get(selected)
        .map_or(0, |row| row.tick_micro_usd);
    let half = usize::from(area.height.saturating_sub(2)) / 2;
    let asks = screen.asks.iter().take(half).rev().map(|&(price, lots)| {
        let text = format!("{:>6} {:>7} {:>5}", "", money(price, tick), short(lots));
        Line::from(text.red())
    });
    let bids = screen.bids.iter().take(half).map(|&(price, lots)| {
        let text = format!("{:>6} {:>7} {:>5}", short(lots), money(price, tick), "");
        Line::from(text.green())
    });
    let blank = half.saturating_sub(screen.asks.len());
    let lines: Vec<_> = std::iter::repeat_n(Line::default(), blank)
        .chain(asks)
        .chain(bids)
        .collect();
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title(" bids  ladder  asks ")),
        area,
    );
}

fn draw_tape(frame: &mut Frame, screen: &Screen, area: Rect) {
    let lines: Vec<_> = screen
        .tape
        .iter()
        .take(usize::from(area.height.saturating_sub(2)))
        .map(|row| {
            let (mark, color) = match row.aggressor {
                Aggressor::Buy => ("B", Color::Green),
                Aggressor::Sell => ("S", Color::Red),
                Aggressor::None => ("A", Color::Yellow),
            };
            let text = format!(
                "{mark} {:>7} {:>4} {}",
                money(row.price, row.tick_micro_usd),
                short(row.lots),
                row.name
            );
            Line::from(Span::styled(text, Style::new().fg(color)))
        })
        .collect();
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title(" tape ")),
        area,
    );
}

fn draw_sessions(frame: &mut Frame, screen: &Screen, area: Rect) {
    let header = Line::from(format!("{:<11}{:>5}{:>4}", "session", "ord", "fil").dim());
    let lines = screen.sessions.iter().map(|row| {
        let text = format!(
            "{:<11}{:>5}{:>4}",
            row.name,
            short(row.orders),
            short(row.fills)
        );
        if row.up {
            Line::from(text)
        } else {
            Line::from(text.red().crossed_out())
        }
    });
    let lines: Vec<_> = std::iter::once(header).chain(lines).collect();
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title(" sessions ")),
        area,
    );
}

fn draw_latency(frame: &mut Frame, screen: &Screen, area: Rect) {
    let columns = |cells: [String; 5]| {
        let [stage, p50, p99, p99_9, max] = cells;
        format!("{stage:<5}{p50:>6}{p99:>6}{p99_9:>6}{max:>5}")
    };
    let header = columns(["stage", "p50", "p99", "p99.9", "max"].map(str::to_owned));
    let lines = screen.stages.iter().map(|(stage, percentiles)| {
        let cells = [
            percentiles.p50_ns,
            percentiles.p99_ns,
            percentiles.p99_9_ns,
            percentiles.max_ns,
        ]
        .map(latency);
        let [p50, p99, p99_9, max] = cells;
        Line::from(columns([(*stage).to_owned(), p50, p99, p99_9, max]))
    });
    let lines: Vec<_> = std::iter::once(Line::from(header.dim()))
        .chain(lines)
        .collect();
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title(" latency ")),
        area,
    );
}

fn help_lines(screen: &Screen) -> Paragraph<'_> {
    let keys = Line::from(vec![
        " ".into(),
        screen.addr.as_str().bold(),
        "   up, down: choose   q, Ctrl-C: end   from another terminal:".dim(),
    ]);
    let commands = screen
        .commands
        .iter()
        .map(|command| Line::from(format!(" {command}")));
    Paragraph::new(std::iter::once(keys).chain(commands).collect::<Vec<_>>())
}

fn right(text: String, width: usize) -> Cell<'static> {
    Cell::from(format!("{text:>width$}"))
}

/// USD per unit-hour with four decimals, halves away from zero; ticks when there is no unit.
pub(crate) fn money(price: Price, tick_micro_usd: u32) -> String {
    if tick_micro_usd == 0 {
        return price.to_string();
    }
    let micro = i128::from(price.ticks()) * i128::from(tick_micro_usd);
    let sign = if micro < 0 { "-" } else { "" };
    let tenth_milli = (micro.abs() + 50) / 100;
    format!("{sign}{}.{:04}", tenth_milli / 10_000, tenth_milli % 10_000)
}

/// A count in at most four characters, rounded down.
fn short(count: u64) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..1_000_000 => format!("{}k", count / 1_000),
        1_000_000..1_000_000_000 => format!("{}M", count / 1_000_000),
        _ => format!("{}G", count / 1_000_000_000),
    }
}

/// A latency in at most four characters with its unit, rounded down.
fn latency(ns: u64) -> String {
    let (unit, divisor) = match ns {
        0..1_000 => return format!("{ns}n"),
        1_000..1_000_000 => ("u", 1_000),
        1_000_000..1_000_000_000 => ("m", 1_000_000),
        _ => ("s", 1_000_000_000),
    };
    let (whole, rest) = (ns / divisor, ns % divisor);
    match whole {
        0..10 => format!("{whole}.{}{unit}", rest * 10 / divisor),
        _ => format!("{whole}{unit}"),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn price(ticks: i64) -> Price {
        Price::from_ticks(ticks)
    }

    fn screen() -> Screen {
        let names = [
            "H100.whole.std.us-tx.h4",
            "H100.whole.std.us-tx.d1",
            "A100.vgpu-40c.std.us-va.d1",
            "RTX4090.whole.be.us-tx.h4",
            "B300.whole.std.eu-fi.d1",
        ];
        let contracts = (0..33u32)
            .map(|at| {
                let middle = 900 + 217 * i64::from(at);
                ContractRow {
                    name: format!(
                        "{}{}",
                        names[at as usize % names.len()],
                        if at < 5 { "" } else { "+" }
                    ),
                    tick_micro_usd: if at == 32 { 0 } else { 600 },
                    bid: (at != 2).then(|| price(middle - 3)),
                    ask: Some(price(middle + 4)),
                    last: (at != 3).then(|| price(middle + 4)),
                    volume: 37 * u64::from(at).pow(4),
                    exact: at != 4,
                }
            })
            .collect();
        let stage = |ns| Percentiles {
            count: 1_000,
            p50_ns: ns,
            p99_ns: ns * 9,
            p99_9_ns: ns * 150,
            max_ns: ns * 2_345,
        };
        let tape = |name: &str, ticks, lots, aggressor| TapeRow {
            name: name.to_owned(),
            tick_micro_usd: 600,
            price: price(ticks),
            lots,
            aggressor,
        };
        Screen {
            addr: "127.0.0.1:40123".to_owned(),
            commands: vec![
                "export TESSERA_ADDR=127.0.0.1:40123 TESSERA_CREDENTIALS=/tmp/tess-Ab12Cd/keys"
                    .to_owned(),
                "tessera feed --instrument H100.whole.std.us-tx.d1".to_owned(),
                "tessera trade place --instrument TEST --side buy --qty 5 --price 100".to_owned(),
                "tessera load --count 1000".to_owned(),
            ],
            uptime: Duration::from_secs(83),
            seq: 48_211,
            lag: 6,
            orders: 12_345,
            trades: 987,
            contracts,
            bids: (0..12u32)
                .map(|at| (price(1_110 - i64::from(at)), 10 + 7 * u64::from(at)))
                .collect(),
            asks: (0..3u32)
                .map(|at| (price(1_121 + i64::from(at)), 1_000 * u64::from(1 + at)))
                .collect(),
            tape: vec![
                tape("H100.whole.std.us-tx.h4", 904, 12, Aggressor::Buy),
                tape("A100.vgpu-40c.std.us-va.d1", 1_334, 1_200, Aggressor::Sell),
                tape("B300.whole.std.eu-fi.d1", 11_650, 3, Aggressor::None),
            ],
            sessions: (0..)
                .zip([
                    "maker-tight",
                    "maker-deep",
                    "maker-trend",
                    "taker-batch",
                    "taker-value",
                ])
                .map(|(at, name): (u64, _)| SessionRow {
                    name: name.to_owned(),
                    up: at != 4,
                    orders: 31 * (at + 1).pow(5),
                    fills: 7 * at,
                })
                .collect(),
            stages: vec![
                ("ack", stage(180_000)),
                ("match", stage(700)),
                ("frame", stage(2_300)),
                ("disk", stage(95_000)),
                ("tape", stage(130_000)),
            ],
        }
    }

    fn check(width: u16, height: u16, screen: &Screen, selected: usize, expect: &Expect) {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal
            .draw(|frame| draw(frame, screen, selected))
            .unwrap();
        let buffer = terminal.backend().buffer();
        let text: String = (0..height)
            .map(|y| {
                let line: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
                format!("{}\n", line.trim_end())
            })
            .collect();
        expect.assert_eq(&text);
    }

    #[test]
    fn eighty_columns_and_twenty_four_lines_are_enough() {
        check(
            80,
            24,
            &screen(),
            1,
            &expect![[r#"
                 TESSERA demo  01:23  seq 48211  journal lag 6  orders 12k  trades 987
                ┌ contracts ─────────────────────────────────────────────┐┌ bids  ladder  asks ┐
                │contract (USD/unit-hour)       bid     ask    last  lots││                    │
                │H100.whole.std.us-tx.h4     0.5382  0.5424  0.5424     0││        0.6738  3000│
                │H100.whole.std.us-tx.d1     0.6684  0.6726  0.6726    37││        0.6732  2000│
                │A100.vgpu-40c.std.us-va.d1       -  0.8028  0.8028   592││        0.6726  1000│
                │RTX4090.whole.be.us-tx.h4   0.9288  0.9330       -  2997││    10  0.6660      │
                │B300.whole.std.eu-fi.d1     resync  resync  1.0632  9472││    17  0.6654      │
                │H100.whole.std.us-tx.h4+    1.1892  1.1934  1.1934   23k││    24  0.6648      │
                │H100.whole.std.us-tx.d1+    1.3194  1.3236  1.3236   47k││    31  0.6642      │
                └────────────────────────────────────────────────────────┘└────────────────────┘
                ┌ tape ────────────────────┐┌ sessions ──────────┐┌ latency ───────────────────┐
                │B  0.5424   12 H100.whole.││session      ord fil││stage   p50   p99 p99.9  max│
                │S  0.8004 1200 A100.vgpu-4││maker-tight   31   0││ack    180u  1.6m   27m 422m│
                │A  6.9900    3 B300.whole.││maker-deep   992   7││match  700n  6.3u  105u 1.6m│
                │                          ││maker-trend 7533  14││frame  2.3u   20u  345u 5.3m│
                │                          ││taker-batch  31k  21││disk    95u  855u   14m 222m│
                │                          ││taker-value  96k  28││tape   130u  1.1m   19m 304m│
                └──────────────────────────┘└────────────────────┘└────────────────────────────┘
                 127.0.0.1:40123   up, down: choose   q, Ctrl-C: end   from another terminal:
                 export TESSERA_ADDR=127.0.0.1:40123 TESSERA_CREDENTIALS=/tmp/tess-Ab12Cd/keys
                 tessera feed --instrument H100.whole.std.us-tx.d1
                 tessera trade place --instrument TEST --side buy --qty 5 --price 100
                 tessera load --count 1000
            "#]],
        );
    }

    #[test]
    fn the_list_scrolls_to_the_selected_contract() {
        check(
            80,
            24,
            &screen(),
            32,
            &expect![[r#"
                 TESSERA demo  01:23  seq 48211  journal lag 6  orders 12k  trades 987
                ┌ contracts ─────────────────────────────────────────────┐┌ bids  ladder  asks ┐
                │contract (USD/unit-hour)       bid     ask    last  lots││                    │
                │H100.whole.std.us-tx.d1+    3.9234  3.9276  3.9276   16M││          1123  3000│
                │A100.vgpu-40c.std.us-va.d1  4.0536  4.0578  4.0578   19M││          1122  2000│
                │RTX4090.whole.be.us-tx.h4+  4.1838  4.1880  4.1880   22M││          1121  1000│
                │B300.whole.std.eu-fi.d1+    4.3140  4.3182  4.3182   26M││    10    1110      │
                │H100.whole.std.us-tx.h4+    4.4442  4.4484  4.4484   29M││    17    1109      │
                │H100.whole.std.us-tx.d1+    4.5744  4.5786  4.5786   34M││    24    1108      │
                │A100.vgpu-40c.std.us-va.d1    7841    7848    7848   38M││    31    1107      │
                └────────────────────────────────────────────────────────┘└────────────────────┘
                ┌ tape ────────────────────┐┌ sessions ──────────┐┌ latency ───────────────────┐
                │B  0.5424   12 H100.whole.││session      ord fil││stage   p50   p99 p99.9  max│
                │S  0.8004 1200 A100.vgpu-4││maker-tight   31   0││ack    180u  1.6m   27m 422m│
                │A  6.9900    3 B300.whole.││maker-deep   992   7││match  700n  6.3u  105u 1.6m│
                │                          ││maker-trend 7533  14││frame  2.3u   20u  345u 5.3m│
                │                          ││taker-batch  31k  21││disk    95u  855u   14m 222m│
                │                          ││taker-value  96k  28││tape   130u  1.1m   19m 304m│
                └──────────────────────────┘└────────────────────┘└────────────────────────────┘
                 127.0.0.1:40123   up, down: choose   q, Ctrl-C: end   from another terminal:
                 export TESSERA_ADDR=127.0.0.1:40123 TESSERA_CREDENTIALS=/tmp/tess-Ab12Cd/keys
                 tessera feed --instrument H100.whole.std.us-tx.d1
                 tessera trade place --instrument TEST --side buy --qty 5 --price 100
                 tessera load --count 1000
            "#]],
        );
    }

    #[test]
    fn a_larger_terminal_shows_more() {
        check(
            110,
            34,
            &screen(),
            0,
            &expect![[r#"
                 TESSERA demo  01:23  seq 48211  journal lag 6  orders 12k  trades 987
                ┌ contracts ───────────────────────────────────────────────────────────────────────────┐┌ bids  ladder  asks ┐
                │contract (USD/unit-hour)                                     bid     ask    last  lots││                    │
                │H100.whole.std.us-tx.h4                                   0.5382  0.5424  0.5424     0││                    │
                │H100.whole.std.us-tx.d1                                   0.6684  0.6726  0.6726    37││                    │
                │A100.vgpu-40c.std.us-va.d1                                     -  0.8028  0.8028   592││                    │
                │RTX4090.whole.be.us-tx.h4                                 0.9288  0.9330       -  2997││                    │
                │B300.whole.std.eu-fi.d1                                   resync  resync  1.0632  9472││                    │
                │H100.whole.std.us-tx.h4+                                  1.1892  1.1934  1.1934   23k││        0.6738  3000│
                │H100.whole.std.us-tx.d1+                                  1.3194  1.3236  1.3236   47k││        0.6732  2000│
                │A100.vgpu-40c.std.us-va.d1+                               1.4496  1.4538  1.4538   88k││        0.6726  1000│
                │RTX4090.whole.be.us-tx.h4+                                1.5798  1.5840  1.5840  151k││    10  0.6660      │
                │B300.whole.std.eu-fi.d1+                                  1.7100  1.7142  1.7142  242k││    17  0.6654      │
                │H100.whole.std.us-tx.h4+                                  1.8402  1.8444  1.8444  370k││    24  0.6648      │
                │H100.whole.std.us-tx.d1+                                  1.9704  1.9746  1.9746  541k││    31  0.6642      │
                │A100.vgpu-40c.std.us-va.d1+                               2.1006  2.1048  2.1048  767k││    38  0.6636      │
                │RTX4090.whole.be.us-tx.h4+                                2.2308  2.2350  2.2350    1M││    45  0.6630      │
                │B300.whole.std.eu-fi.d1+                                  2.3610  2.3652  2.3652    1M││    52  0.6624      │
                │H100.whole.std.us-tx.h4+                                  2.4912  2.4954  2.4954    1M││    59  0.6618      │
                │H100.whole.std.us-tx.d1+                                  2.6214  2.6256  2.6256    2M││    66  0.6612      │
                └──────────────────────────────────────────────────────────────────────────────────────┘└────────────────────┘
                ┌ tape ──────────────────────────────────────────────────┐┌ sessions ──────────┐┌ latency ───────────────────┐
                │B  0.5424   12 H100.whole.std.us-tx.h4                  ││session      ord fil││stage   p50   p99 p99.9  max│
                │S  0.8004 1200 A100.vgpu-40c.std.us-va.d1               ││maker-tight   31   0││ack    180u  1.6m   27m 422m│
                │A  6.9900    3 B300.whole.std.eu-fi.d1                  ││maker-deep   992   7││match  700n  6.3u  105u 1.6m│
                │                                                        ││maker-trend 7533  14││frame  2.3u   20u  345u 5.3m│
                │                                                        ││taker-batch  31k  21││disk    95u  855u   14m 222m│
                │                                                        ││taker-value  96k  28││tape   130u  1.1m   19m 304m│
                └────────────────────────────────────────────────────────┘└────────────────────┘└────────────────────────────┘
                 127.0.0.1:40123   up, down: choose   q, Ctrl-C: end   from another terminal:
                 export TESSERA_ADDR=127.0.0.1:40123 TESSERA_CREDENTIALS=/tmp/tess-Ab12Cd/keys
                 tessera feed --instrument H100.whole.std.us-tx.d1
                 tessera trade place --instrument TEST --side buy --qty 5 --price 100
                 tessera load --count 1000
            "#]],
        );
    }

    #[test]
    fn the_start_and_a_tiny_terminal_are_drawn_too() {
        check(
            80,
            24,
            &Screen::default(),
            0,
            &expect![[r#"
             TESSERA demo  00:00  seq 0  journal lag 0  orders 0  trades 0
            ┌ contracts ─────────────────────────────────────────────┐┌ bids  ladder  asks ┐
            │contract (USD/unit-hour)       bid     ask    last  lots││                    │
            │                                                        ││                    │
            │                                                        ││                    │
            │                                                        ││                    │
            │                                                        ││                    │
            │                                                        ││                    │
            │                                                        ││                    │
            │                                                        ││                    │
            │                                                        ││                    │
            │                                                        ││                    │
            │                                                        ││                    │
            │                                                        ││                    │
            └────────────────────────────────────────────────────────┘└────────────────────┘
            ┌ tape ────────────────────┐┌ sessions ──────────┐┌ latency ───────────────────┐
            │                          ││session      ord fil││stage   p50   p99 p99.9  max│
            │                          ││                    ││                            │
            │                          ││                    ││                            │
            │                          ││                    ││                            │
            │                          ││                    ││                            │
            │                          ││                    ││                            │
            └──────────────────────────┘└────────────────────┘└────────────────────────────┘
                up, down: choose   q, Ctrl-C: end   from another terminal:
        "#]],
        );
        for (width, height) in [(1, 1), (20, 5), (79, 12)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| draw(frame, &screen(), 40)).unwrap();
        }
    }

    #[test]
    fn numbers_are_short() {
        let moneys = [(3_917, 600), (-1, 600), (5, 0), (1, 60), (0, 600)];
        let moneys = moneys.map(|(ticks, tick)| money(price(ticks), tick));
        assert_eq!(moneys, ["2.3502", "-0.0006", "5", "0.0001", "0.0000"]);
        let latencies = [0, 999, 1_000, 99_999, 100_000, 2_345_678, 60_000_000_000].map(latency);
        assert_eq!(
            latencies,
            ["0n", "999n", "1.0u", "99u", "100u", "2.3m", "60s"]
        );
        assert_eq!([9_999, 10_000, 2_500_000].map(short), ["9999", "10k", "2M"]);
    }
}
