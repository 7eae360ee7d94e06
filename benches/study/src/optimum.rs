//! The upper bound: a linear programme over the same sellers and buyers.
//!
//! Lots may be fractions, a strip may change its place for nothing, and slices of a device need only
//! fit by compute, by memory and by number. What a market does is therefore never better.

use anyhow::{Context, Result};
use good_lp::{Expression, ProblemVariables, Solution, SolverModel, Variable, microlp, variable};

use crate::world::{HOURS, PROFILES, WINDOWS, World};

/// The largest surplus, in ticks.
///
/// # Errors
/// When the solver finds none.
pub(crate) fn surplus(world: &World) -> Result<f64> {
    let mut variables = ProblemVariables::new();
    let mut gain = Expression::from(0.0);
    let mut uses: Vec<Vec<Expression>> =
        vec![vec![Expression::from(0.0); WINDOWS]; world.pools.len()];
    let mut cut: Vec<Vec<[Expression; PROFILES.len()]>> = uses
        .iter()
        .map(|windows| windows.iter().map(|_| Default::default()).collect())
        .collect();
    let mut most: Vec<(Expression, f64)> = Vec::new();
    let mut equal: Vec<Expression> = Vec::new();
    for (number, buyer) in world.buyers.iter().enumerate() {
        let choices = world.choices(number);
        #[expect(clippy::cast_precision_loss, reason = "a few lots")]
        let lots = buyer.lots as f64;
        let mut first: Option<Expression> = None;
        for window in buyer.window..buyer.window + buyer.windows {
            let mut bought = Expression::from(0.0);
            for (at, pool) in world.pools.iter().enumerate() {
                for &product in &choices {
                    if (product.class, product.zone) != (pool.class, pool.zone) {
                        continue;
                    }
                    let worth = world.worth(number, product);
                    #[expect(clippy::cast_precision_loss, reason = "a price")]
                    let cost = pool.cost as f64;
                    if product.profile.is_none() && buyer.windows == 1 && worth <= cost {
                        // It would lower the surplus whatever else happens.
                        continue;
                    }
                    let lots: Variable = variables.add(variable().min(0.0).max(lots));
                    bought += lots;
                    let each = if product.profile.is_some() {
                        worth
                    } else {
                        worth - cost
                    };
                    gain += lots * each;
                    match product.profile {
                        None => uses[at][window] += lots,
                        Some(profile) => cut[at][window][profile] += lots,
                    }
                }
            }
            match &first {
                None => most.push((bought.clone(), lots)),
                Some(first) => equal.push(first.clone() - bought.clone()),
            }
            first.get_or_insert(bought);
        }
    }
    let mut fits: Vec<(Expression, f64)> = Vec::new();
    for (at, pool) in world.pools.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a few devices, a price")]
        let (devices, cost) = (pool.devices as f64, pool.cost as f64);
        for window in 0..WINDOWS {
            let carved: Variable = variables.add(variable().min(0.0).max(devices));
            gain -= carved * cost;
            fits.push((uses[at][window].clone() + carved, devices));
            let slices = &cut[at][window];
            let sum = |weights: [f64; PROFILES.len()]| {
                let mut sum = Expression::from(0.0);
                for (slice, weight) in slices.iter().zip(weights) {
                    sum += slice.clone() * weight;
                }
                sum
            };
            #[expect(clippy::cast_precision_loss, reason = "at most eight")]
            let (compute, memory) = (
                PROFILES.map(|profile| profile.1 as f64),
                PROFILES.map(|profile| profile.2 as f64),
            );
            fits.push((sum(compute) - carved * 7.0, 0.0));
            fits.push((sum(memory) - carved * 8.0, 0.0));
            fits.push((sum([0.0, 1.0, 0.0]) - carved * 3.0, 0.0));
            fits.push((sum([0.0, 0.0, 1.0]) - carved * 2.0, 0.0));
        }
    }
    let mut model = variables.maximise(gain.clone()).using(microlp);
    for (sum, bound) in most.into_iter().chain(fits) {
        model = model.with(sum.leq(bound));
    }
    for difference in equal {
        model = model.with(difference.eq(0.0));
    }
    let solution = model
        .solve()
        .context("the linear programme has no solution")?;
    #[expect(clippy::cast_precision_loss, reason = "six")]
    let hours = HOURS as f64;
    Ok(solution.eval(&gain) * hours)
}
