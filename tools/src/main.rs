//! The program `tessera`: one binary with every verb.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use tessera::{admin, demo, exit, feed, journal, load, risk, serve, sim, trade};

#[derive(Parser)]
#[command(
    name = "tessera",
    version,
    about = "Tessera: a deterministic exchange for compute",
    after_help = "Examples:
  tessera demo
  tessera serve --data ./exchange --listen 127.0.0.1:7700
  tessera sim --script orders.jsonl"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Serve(serve::Args),
    Demo(demo::Args),
    Sim(sim::Args),
    Journal(journal::Args),
    Trade(trade::Args),
    Feed(feed::Args),
    Load(load::Args),
    Admin(admin::Args),
    Risk(risk::Args),
    /// Print the completions of a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page of the program, or of one verb.
    Man {
        /// The verb.
        verb: Option<String>,
    },
}

fn main() -> ExitCode {
    // clap itself exits with 2 on a usage error and 0 on --help.
    match Cli::parse().verb {
        Verb::Serve(args) => serve::run(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Sim(args) => sim::run(args),
        Verb::Journal(args) => journal::run(&args),
        Verb::Trade(args) => trade::run(args),
        Verb::Feed(args) => feed::run(args),
        Verb::Load(args) => load::run(args),
        Verb::Admin(args) => admin::run(args),
        Verb::Risk(args) => risk::run(&args),
        Verb::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Cli::command(),
                "tessera",
                &mut std::io::stdout(),
            );
            ExitCode::SUCCESS
        }
        Verb::Man { verb } => manual(verb.as_deref()),
    }
}

/// The manual page of one verb, or of the program.
fn manual(verb: Option<&str>) -> ExitCode {
    let mut command = Cli::command();
    command.build();
    let page = match verb {
        None => command,
        Some(verb) => match command.find_subcommand(verb) {
            Some(found) => found.clone().display_name(format!("tessera-{verb}")),
            None => {
                return exit::with(
                    exit::USAGE,
                    format_args!("no verb `{verb}`; `tessera --help` lists them"),
                );
            }
        },
    };
    match clap_mangen::Man::new(page).render(&mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever closed standard output has read enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => exit::failed(error),
    }
}
