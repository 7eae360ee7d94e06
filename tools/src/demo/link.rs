//! Between the demo's words and the client library's.

use std::net::SocketAddr;
use std::path::Path;

use tessera_client::{
    Client, Config, ConnectError, Feed, FeedEvent, OrderEvent, OrderEvents, OrderSender, SendError,
    SessionError, orders,
};
use tessera_market_data::{Conflator, Increment};
use tessera_proto::Lots;
use tessera_proto::codes::{CancelOnDisconnect, ExecType};
use tessera_proto::message::{ExecInstBits, ExecutionReport, NewOrderSingle, SecurityDefinition};
use tessera_types::{AccountId, ClOrdId, Price, TimeInForce};
use thiserror::Error;

use super::board::Board;
use super::desk::{Report, Request, RequestKind};
use crate::catalogue::CatalogueError;

/// Why the participants cannot go on.
#[derive(Debug, Error)]
pub(crate) enum LinkError {
    /// The system refused a thread or a runtime.
    #[error("cannot start the participants: {0}")]
    Thread(std::io::Error),
    /// The shipped catalogue, which has the reference prices.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// Somebody cannot connect.
    #[error("{who}: {source}")]
    Connect {
        /// Who.
        who: &'static str,
        /// Why.
        source: ConnectError,
    },
    /// Somebody's session ended.
    #[error("{who}: {source}")]
    Session {
        /// Who.
        who: &'static str,
        /// Why.
        source: SessionError,
    },
    /// Somebody's request was not sent.
    #[error("{who}: {source}")]
    Send {
        /// Who.
        who: &'static str,
        /// Why.
        source: SendError,
    },
    /// The exchange called a message malformed.
    #[error("{who}: a message was refused for its form: {reason}")]
    Malformed {
        /// Who.
        who: &'static str,
        /// What the exchange said.
        reason: String,
    },
}

/// A participant's order session.
pub(crate) struct OrderLink {
    who: &'static str,
    account: AccountId,
    sender: OrderSender,
    events: OrderEvents,
    last_cl_ord_id: ClOrdId,
    /// Keeps the socket.
    client: Client,
}

impl OrderLink {
    /// Logs on as `who`, whose orders end with the session.
    pub(crate) async fn connect(
        addr: SocketAddr,
        credentials: &Path,
        who: &'static str,
        account: u32,
    ) -> Result<Self, LinkError> {
        let mut config = Config::new(addr, credentials.to_owned());
        config.cancel_on_disconnect = CancelOnDisconnect::Both;
        let refused = |source| LinkError::Connect { who, source };
        let client = Client::new(config).map_err(refused)?;
        let session = client.orders(who).await.map_err(refused)?;
        let last_cl_ord_id = session.info().last_cl_ord_id;
        let (sender, events) = session.split();
        Ok(Self {
            who,
            account: AccountId::new(account),
            sender,
            events,
            last_cl_ord_id,
            client,
        })
    }

    /// The highest client id that the session has used.
    pub(crate) const fn last_cl_ord_id(&self) -> ClOrdId {
        self.last_cl_ord_id
    }

    /// Writes all requests at once.
    pub(crate) async fn send(&mut self, requests: &[Request]) -> Result<(), LinkError> {
        let who = self.who;
        let failed = |source| LinkError::Send { who, source };
        for request in requests {
            self.queue(request).map_err(failed)?;
        }
        self.sender.flush().await.map_err(failed)
    }

    /// Waits for what the exchange says; everything that is here already comes at once. Cancel safe.
    pub(crate) async fn next_reports(&mut self) -> Result<Vec<Report>, LinkError> {
        let who = self.who;
        let first = self.events.next_event().await;
        let mut next = Some(first.map_err(|source| LinkError::Session { who, source })?);
        let mut reports = Vec::new();
        while let Some(event) = next {
            reports.extend(report(who, &event)?);
            next = self.events.try_next();
        }
        Ok(reports)
    }

    /// Logs out; the exchange cancels what still rests.
    pub(crate) async fn log_out(mut self) -> Result<(), LinkError> {
        let who = self.who;
        let result = self.sender.logout().await;
        result.map_err(|source| LinkError::Send { who, source })?;
        self.client.wait_idle().await;
        Ok(())
    }

    fn queue(&mut self, request: &Request) -> Result<ClOrdId, SendError> {
        let new = |price, lots, time_in_force, exec_inst| {
            let price = Price::from_ticks(price);
            let lots = Lots::new(lots);
            NewOrderSingle {
                time_in_force,
                exec_inst,
                ..NewOrderSingle::limit(
                    request.id,
                    self.account,
                    request.instrument,
                    request.side,
                    price,
                    lots,
                )
            }
        };
        match request.kind {
            RequestKind::Post { price, lots } => {
                let order = new(price, lots, TimeInForce::Gtc, ExecInstBits::POST_ONLY);
                self.sender.queue(order)
            }
            RequestKind::Take { price, lots } => {
                let order = new(price, lots, TimeInForce::Ioc, ExecInstBits::NONE);
                self.sender.queue(order)
            }
            RequestKind::Move { order, price, lots } => {
                let price = Some(Price::from_ticks(price));
                let mut change = orders::replace(order, price, Some(Lots::new(lots)));
                change.cl_ord_id = request.id;
                self.sender.queue(change)
            }
            RequestKind::Cancel { order } => {
                let mut cancel = orders::cancel(order);
                cancel.cl_ord_id = request.id;
                self.sender.queue(cancel)
            }
        }
    }
}

/// The market data of the demo.
pub(crate) struct FeedLink {
    feed: Feed,
    changed: Conflator,
    trades: Vec<Increment>,
    /// Keeps the socket.
    client: Client,
}

impl FeedLink {
    /// Logs on.
    pub(crate) async fn connect(addr: SocketAddr, credentials: &Path) -> Result<Self, LinkError> {
        let refused = |source| LinkError::Connect { who: FEED, source };
        let client = Client::new(Config::new(addr, credentials.to_owned())).map_err(refused)?;
        let feed = client.market_data().await.map_err(refused)?;
        Ok(Self {
            feed,
            changed: Conflator::new(),
            trades: Vec::new(),
            client,
        })
    }

    /// Every listed instrument.
    pub(crate) async fn definitions(&self) -> Result<Vec<SecurityDefinition>, LinkError> {
        self.feed.instruments().await.map_err(feed_lost)
    }

    /// Asks for everything.
    pub(crate) async fn subscribe_all(&mut self) -> Result<(), LinkError> {
        self.feed.subscribe_all().await.map_err(feed_lost)
    }

    /// Waits until there is something new, and notes all that is here: trades one by one, books only
    /// as changed. Cancel safe.
    pub(crate) async fn wait(&mut self) -> Result<(), LinkError> {
        let mut next = Some(self.feed.next_event().await.map_err(feed_lost)?);
        while let Some(event) = next {
            match event {
                FeedEvent::Increment(increment) => self.trades.push(increment),
                FeedEvent::Book(instrument) | FeedEvent::Lost { instrument, .. } => {
                    self.changed.mark(instrument);
                }
                // Nobody lists anything in a demo but its user, whose instruments have no maker.
                FeedEvent::Listed(_) => {}
            }
            next = self.feed.try_next();
        }
        Ok(())
    }

    /// Moves what was noted to the board.
    pub(crate) fn update(&mut self, board: &mut Board) {
        for increment in self.trades.drain(..) {
            board.on_increment(&increment);
        }
        for instrument in self.changed.drain() {
            if let Some(mirror) = self.feed.mirror(instrument) {
                board.on_book(mirror);
            }
        }
    }

    /// Logs out.
    pub(crate) async fn log_out(self) -> Result<(), LinkError> {
        self.feed.logout().await.map_err(feed_lost)?;
        self.client.wait_idle().await;
        Ok(())
    }
}

fn feed_lost(source: SessionError) -> LinkError {
    LinkError::Session { who: FEED, source }
}

const FEED: &str = "the market data";

/// What an event means to a desk; nothing when it means nothing.
fn report(who: &'static str, event: &OrderEvent) -> Result<Option<Report>, LinkError> {
    Ok(match event {
        OrderEvent::Execution { report, .. } => execution(report),
        OrderEvent::CancelReject { report, .. } => Some(Report::Refused {
            request: report.cl_ord_id,
        }),
        OrderEvent::Refused(reject) => Some(Report::Refused {
            request: reject.cl_ord_id,
        }),
        OrderEvent::MassAction { .. } => None,
        OrderEvent::Malformed(reject) => {
            let reason = format!("{:?}, field {}", reject.reason, reject.ref_tag);
            return Err(LinkError::Malformed { who, reason });
        }
    })
}

fn execution(report: &ExecutionReport) -> Option<Report> {
    let id = report.cl_ord_id;
    // What a request did carries the request's id first and the order's as the original one.
    let order = match report.orig_cl_ord_id.get() {
        0 => id,
        _ => report.orig_cl_ord_id,
    };
    Some(match report.exec_type {
        ExecType::New => Report::Accepted { order: id },
        ExecType::Replaced => Report::Moved {
            order: id,
            before: order,
            leaves: report.leaves_qty.get(),
        },
        ExecType::Trade => Report::Filled {
            order: id,
            price: report.last_px.ticks(),
            lots: report.last_qty.get(),
            leaves: report.leaves_qty.get(),
        },
        ExecType::Canceled | ExecType::Expired => Report::Ended { order },
        ExecType::Rejected => Report::Refused { request: id },
        // The desk sends neither reduces nor stops.
        ExecType::Reduced | ExecType::Triggered => return None,
    })
}
