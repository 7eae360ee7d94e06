//! `cargo xtask study market`: the same machines and the same buyers in three markets and in a linear
//! programme. The model is written down in `docs/market-study/README.md`.

mod markets;
mod optimum;
mod outcome;
mod report;
mod venue;
mod world;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use rayon::prelude::*;

use report::Cell;
use venue::Machine;
use world::World;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("study: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Parser)]
#[command(about = "The same machines and buyers in three markets and in a linear programme")]
struct Args {
    /// Folder whose README.md gets the tables, and the pictures beside it
    folder: Option<PathBuf>,
    /// How many seeds
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// The plain model of the tests in place of the engine: the same figures, slowly
    #[arg(long)]
    model: bool,
}

/// Runs all seeds, prints the tables, and writes them and the pictures into the folder.
fn run(args: &Args) -> Result<()> {
    let seeds = args.seeds;
    let machine = if args.model {
        Machine::Model
    } else {
        Machine::Engine
    };
    let cells = FLEXIBLE
        .into_iter()
        .map(|flexible| {
            let outcomes = (0..seeds).into_par_iter().map(|seed| {
                let world = World::draw(seed, flexible)?;
                let best = optimum::surplus(&world)?;
                let markets = [
                    markets::single(&world, false, machine)?,
                    markets::single(&world, true, machine)?,
                    markets::lattice(&world, machine)?,
                    markets::lattice(&world.dearest_first(), machine)?,
                ];
                // A bound that is passed is no bound.
                for (name, market) in report::MARKETS.iter().zip(&markets) {
                    anyhow::ensure!(
                        market.surplus <= best * (1.0 + 1e-9),
                        "seed {seed}: {name} is better than the optimum"
                    );
                }
                Ok((markets, best))
            });
            let seeds = outcomes.collect::<Result<Vec<_>>>()?;
            Ok(Cell { flexible, seeds })
        })
        .collect::<Result<Vec<_>>>()?;
    let tables = report::tables(&cells);
    println!("{seeds} seeds, {}\n{tables}", report::scale());
    if let Some(folder) = &args.folder {
        report::draw(&cells, folder)?;
        let path = folder.join("README.md");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let (head, rest) = text
            .split_once(BEGIN)
            .context("the page has a place for the tables")?;
        let (_, tail) = rest
            .split_once(END)
            .context("the page says where the tables end")?;
        fs::write(&path, format!("{head}{BEGIN}\n{tables}\n{END}{tail}"))?;
    }
    Ok(())
}

const FLEXIBLE: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];
const BEGIN: &str = "<!-- tables: written by cargo xtask study market -->";
const END: &str = "<!-- end of tables -->";
