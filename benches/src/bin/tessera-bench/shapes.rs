//! What the flows are, and how large their books get.

use std::process::ExitCode;

use tessera_benches::flows::Flow;
use tessera_benches::shape::Shape;

/// Says what each flow is, and how large its books are with each of a range of seeds.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these flows, separated by commas.
    #[arg(long, value_delimiter = ',')]
    flow: Vec<Flow>,
    /// How many commands of each.
    #[arg(long, default_value_t = 2_000_000)]
    commands: usize,
    /// Look at the seeds up to this one instead of the one that is measured.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first of these seeds.
    #[arg(long, default_value_t = 1, requires = "seeds")]
    from: u64,
}

/// One line per flow and seed.
pub(crate) fn run(args: &Args) -> ExitCode {
    let flows = if args.flow.is_empty() {
        &Flow::ALL
    } else {
        args.flow.as_slice()
    };
    for flow in flows {
        println!("{flow}: {}", flow.describe());
        let seeds = args
            .seeds
            .map_or(flow.seed()..=flow.seed(), |last| args.from..=last);
        for seed in seeds {
            let shape = Shape::of(&flow.workload(args.commands, seed));
            println!(
                "  seed {seed}: {:.0} orders on {:.0} levels",
                shape.resting, shape.levels
            );
        }
    }
    ExitCode::SUCCESS
}
