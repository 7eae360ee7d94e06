//! What fixed, versioned bad states of the world would do to a book.
//!
//! Sixteen states: the ten of the specification, and six that single out a zone or turn a sign, so
//! that hedges between zones and short books meet their own bad day.

use serde::Serialize;

use crate::scenario::{Joint, State};

/// Version of the list below; a change of any number is a new version.
pub const STRESS_VERSION: u32 = 1;

/// Number of stress scenarios.
pub const STRESSES: usize = 16;

/// One stress scenario.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stress {
    /// Name, as on the command line.
    pub name: &'static str,
    /// What happens.
    pub what: &'static str,
    #[serde(skip)]
    change: Change,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Change {
    where_: Where,
    /// USD/MWh and hours.
    spike: Option<(f64, f64)>,
    /// Share of the zone's unit-hours lost.
    down: f64,
    hazard: f64,
    /// Change of ln compute price.
    compute: f64,
    preempted: f64,
    /// Deviation of ln power price.
    power: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Where {
    #[default]
    Everywhere,
    First,
    Last,
}

/// The scenarios, in the order of the last sixteen of a parameter set.
#[must_use]
pub fn scenarios() -> Vec<Stress> {
    let stress = |name, what, change| Stress { name, what, change };
    let ln = f64::ln;
    let c = Change::default;
    vec![
        stress(
            "winter-storm",
            "9,000 USD/MWh for 96 h and 20 % of every zone offline (Uri, February 2021; the legal cap is overridden)",
            Change {
                spike: Some((9000.0, 96.0)),
                down: 0.2,
                ..c()
            },
        ),
        stress(
            "cold-snap",
            "day mean of 1,700 USD/MWh for a day with a peak hour of 4,392 (Elliott, December 2022)",
            Change {
                spike: Some((1700.0, 24.0)),
                power: 0.5,
                ..c()
            },
        ),
        stress(
            "heatwave",
            "5,000 USD/MWh for 4 h on 5 days, hazard x3",
            // 20 hours at 5,000 spread over 120.
            Change {
                spike: Some((5000.0 * 20.0 / 120.0, 120.0)),
                hazard: 3.0,
                ..c()
            },
        ),
        stress(
            "rack-loss",
            "a rack row: 5 % of the first zone for 48 h",
            Change {
                where_: Where::First,
                down: 0.05,
                ..c()
            },
        ),
        stress(
            "data-centre-loss",
            "40 % of the first zone for 72 h",
            Change {
                where_: Where::First,
                down: 0.4,
                ..c()
            },
        ),
        stress(
            "compute-crash",
            "compute price -50 % in 5 days",
            Change {
                compute: ln(0.5),
                ..c()
            },
        ),
        stress(
            "preemption-storm",
            "every reclaimable unit is taken back within 24 h",
            Change {
                preempted: 1.0,
                ..c()
            },
        ),
        stress(
            "negative-floor",
            "power at -1,000 USD/MWh for 24 h",
            Change {
                spike: Some((-1000.0, 24.0)),
                ..c()
            },
        ),
        stress(
            "new-generation",
            "a new GPU generation: compute price -30 %",
            Change {
                compute: ln(0.7),
                ..c()
            },
        ),
        stress(
            "all-at-once",
            "winter storm, hazard x3, preemption storm and compute price -50 % together",
            Change {
                spike: Some((9000.0, 96.0)),
                down: 0.2,
                hazard: 3.0,
                compute: ln(0.5),
                preempted: 1.0,
                ..c()
            },
        ),
        stress(
            "compute-squeeze",
            "compute price +50 % in 5 days",
            Change {
                compute: ln(1.5),
                ..c()
            },
        ),
        stress(
            "winter-storm-first-zone",
            "the winter storm in the first zone only",
            Change {
                where_: Where::First,
                spike: Some((9000.0, 96.0)),
                down: 0.2,
                ..c()
            },
        ),
        stress(
            "winter-storm-last-zone",
            "the winter storm in the last zone only",
            Change {
                where_: Where::Last,
                spike: Some((9000.0, 96.0)),
                down: 0.2,
                ..c()
            },
        ),
        stress(
            "data-centre-loss-last-zone",
            "40 % of the last zone for 72 h",
            Change {
                where_: Where::Last,
                down: 0.4,
                ..c()
            },
        ),
        stress(
            "power-glut",
            "power at half its level",
            Change {
                power: ln(0.5),
                ..c()
            },
        ),
        stress(
            "squeeze-and-storm",
            "compute price +50 % with the winter storm",
            Change {
                spike: Some((9000.0, 96.0)),
                down: 0.2,
                compute: ln(1.5),
                ..c()
            },
        ),
    ]
}

impl Stress {
    /// The state of the world under this scenario.
    #[must_use]
    pub fn state(&self, joint: &Joint) -> State {
        let mut state = joint.calm();
        let last = state.zones.len().saturating_sub(1);
        let c = &self.change;
        for (i, zone) in state.zones.iter_mut().enumerate() {
            let hit = match c.where_ {
                Where::Everywhere => true,
                Where::First => i == 0,
                Where::Last => i == last,
            };
            if hit {
                zone.spike = c.spike;
                zone.x += c.power;
                zone.down = (zone.down * c.hazard.max(1.0) + c.down).min(1.0);
                zone.preempted = c.preempted;
            }
        }
        state.classes.fill(c.compute);
        state
    }
}

/// Losses of one long lot: one row per stress scenario, one entry per product, USD.
#[must_use]
pub fn losses(joint: &Joint) -> Vec<Vec<f64>> {
    scenarios()
        .iter()
        .map(|s| joint.revalue(&s.state(joint)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;

    #[test]
    fn there_are_sixteen_with_distinct_names() {
        let all = scenarios();
        assert_eq!(all.len(), STRESSES);
        let mut names: Vec<&str> = all.iter().map(|s| s.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STRESSES);
    }

    #[test]
    fn a_storm_in_one_zone_leaves_the_other_alone() {
        let model = Model::default_model();
        let joint = Joint::new(&model).unwrap();
        let rows = losses(&joint);
        let calm = joint.revalue(&joint.calm());
        let row = scenarios()
            .iter()
            .position(|s| s.name == "winter-storm-first-zone")
            .unwrap();
        for (p, product) in model.products.iter().enumerate() {
            let same = (rows[row][p] - calm[p]).abs() < 1e-9;
            assert_eq!(
                same,
                product.zone != model.zones[0].name || product.start_hours > 96.0,
                "{}",
                product.name
            );
        }
    }

    #[test]
    fn the_short_seller_pays_for_a_storm_and_the_holder_for_a_crash() {
        let model = Model::default_model();
        let joint = Joint::new(&model).unwrap();
        let rows = losses(&joint);
        let at = |name: &str, product: &str| {
            let s = scenarios().iter().position(|s| s.name == name).unwrap();
            rows[s][model.product(product).unwrap()]
        };
        let day = "H100_80_SXM/whole/firm/tx/-/day";
        assert!(at("winter-storm", day) < -10.0);
        assert!(at("compute-crash", day) > 10.0);
        assert!(at("compute-squeeze", day) < -10.0);
    }
}
