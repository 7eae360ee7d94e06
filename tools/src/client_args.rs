//! What every client verb takes (where the exchange is, who asks, how answers are printed), and how
//! every client verb fails: one line on standard error and the documented code.

use std::future::Future;
use std::io::{self, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::process::ExitCode;

use tessera_client::admin::AdminError;
use tessera_client::{Client, Config, ConnectError, SendError, SessionError};
use tessera_proto::message::SecurityDefinition;
use tessera_types::{AccountId, InstrumentId};
use thiserror::Error;

use crate::exit;

/// Flags of every client verb.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct ClientArgs {
    /// Where the exchange listens, as its READY line says: HOST:PORT
    #[arg(long, global = true, value_name = "ADDR", env = "TESSERA_ADDR", value_parser = resolve)]
    pub addr: Option<SocketAddr>,

    /// Directory with ca.crt and the client's certificate and keys; `serve` keeps a development set
    /// in DATA/credentials
    #[arg(long, global = true, value_name = "DIR", env = "TESSERA_CREDENTIALS")]
    pub credentials: Option<PathBuf>,

    /// Name of the session, 1 to 16 characters; only one connection at a time may use it
    #[arg(long, global = true, value_name = "NAME")]
    pub session: Option<String>,

    /// Account to act for
    #[arg(long, global = true, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub account: u32,

    /// Print one JSON object per line
    #[arg(long, global = true)]
    pub json: bool,
}

impl ClientArgs {
    /// The configuration of a client; change what differs.
    ///
    /// # Errors
    /// [`VerbError::Usage`] when address or credentials are not given.
    pub fn config(&self) -> Result<Config, VerbError> {
        let addr = self.addr.ok_or_else(|| {
            let missing = "no address: pass --addr HOST:PORT or set TESSERA_ADDR; the READY line of `tessera serve` names it";
            VerbError::Usage(missing.to_owned())
        })?;
        let credentials = self.credentials.clone().ok_or_else(|| {
            let missing = "no credentials: pass --credentials DIR or set TESSERA_CREDENTIALS; `tessera serve --data DATA` keeps a development set in DATA/credentials";
            VerbError::Usage(missing.to_owned())
        })?;
        Ok(Config::new(addr, credentials))
    }

    /// The account as an id.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        AccountId::new(self.account)
    }

    /// The session's name, or the verb's own.
    #[must_use]
    pub fn session_or<'a>(&'a self, default: &'a str) -> &'a str {
        self.session.as_deref().unwrap_or(default)
    }
}

/// Why a client verb did not do what it was asked.
#[derive(Debug, Error)]
pub enum VerbError {
    /// The command line, or a line of input, is wrong. Nothing was sent for it.
    #[error("{0}")]
    Usage(String),
    /// The exchange refused, or something else did not work.
    #[error("{0}")]
    Failed(String),
    /// There is no session.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The session ended.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A request was not sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// An admin command was not done.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Standard output, or a file of results, cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl VerbError {
    /// Says on standard error what happened and gives the exit code.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        match self {
            // Whoever closed the pipe has seen enough and needs no message.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
            Self::Usage(_) => exit::with(exit::USAGE, self),
            _ => exit::failed(self),
        }
    }
}

/// Runs a client verb: its tasks share this thread.
pub(crate) fn block_on(verb: impl Future<Output = Result<ExitCode, VerbError>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(verb),
        Err(error) => Err(VerbError::Failed(format!(
            "cannot start the runtime: {error}"
        ))),
    };
    result.unwrap_or_else(|error| error.report())
}

/// A client of the exchange.
pub(crate) fn client(config: Config) -> Result<Client, VerbError> {
    Ok(Client::new(config)?)
}

/// One line of data on standard output, there at once for whoever reads along.
pub(crate) fn print(line: &str) -> Result<(), VerbError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// The instruments of the exchange, by name and by number.
#[derive(Debug)]
pub(crate) struct Instruments(Vec<SecurityDefinition>);

impl Instruments {
    pub(crate) fn new(definitions: Vec<SecurityDefinition>) -> Self {
        Self(definitions)
    }

    pub(crate) fn find(&self, name: &str) -> Option<&SecurityDefinition> {
        self.0.iter().find(|found| found.symbol.as_str() == name)
    }

    pub(crate) fn id(&self, name: &str) -> Option<InstrumentId> {
        self.find(name).map(|found| found.instrument)
    }

    /// The instrument of this name, or the line that says that there is none.
    pub(crate) fn require(&self, name: &str) -> Result<&SecurityDefinition, VerbError> {
        self.find(name).ok_or_else(|| {
            VerbError::Failed(format!(
                "no instrument is named `{name}`; `tessera admin instrument list` shows the {} that are",
                self.0.len()
            ))
        })
    }

    pub(crate) fn name(&self, id: InstrumentId) -> String {
        let found = self.0.iter().find(|found| found.instrument == id);
        found.map_or_else(|| id.to_string(), |found| found.symbol.as_str().to_owned())
    }

    pub(crate) fn all(&self) -> &[SecurityDefinition] {
        &self.0
    }
}

fn resolve(text: &str) -> Result<SocketAddr, String> {
    let mut found = text
        .to_socket_addrs()
        .map_err(|error| format!("{error}; write HOST:PORT, as in 127.0.0.1:7700"))?;
    found
        .next()
        .ok_or_else(|| "the name has no address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_host_and_a_port() {
        let expected = SocketAddr::from(([127, 0, 0, 1], 7700));
        assert_eq!(resolve("127.0.0.1:7700"), Ok(expected));
        for bad in ["127.0.0.1", "", ":x", "127.0.0.1:70000"] {
            assert!(resolve(bad).is_err(), "{bad}");
        }
    }
}
