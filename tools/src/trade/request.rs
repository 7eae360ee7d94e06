//! Requests as people and programs write them: flags of a verb, or one JSON object per line.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer};
use tessera_proto::Lots;
use tessera_proto::codes::{MassActionScope, MassActionType, SideCode};
use tessera_proto::field::{Reserved, TooManyLots};
use tessera_proto::message as wire;
use tessera_proto::message::{Changes, ExecInstBits};
use tessera_proto::session::Request;
use tessera_types::{
    AccountId, ClOrdId, InstrumentId, OrdType, OrderId, Phase, Price, Qty, SelfMatch, Side,
    TimeInForce, Timestamp,
};
use thiserror::Error;

/// One request. Prices are in ticks and quantities in lots.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum TradeRequest {
    /// Enter an order.
    Place(Place),
    /// Change an order.
    Replace(Replace),
    /// Take quantity off an order.
    Reduce(Reduce),
    /// Cancel one order.
    Cancel(Cancel),
    /// Cancel the session's orders that pass the filters.
    MassCancel(MassCancel),
}

/// Enter an order.
#[derive(Clone, Debug, PartialEq, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Name of the instrument
    #[arg(long, value_name = "NAME")]
    instrument: String,
    /// buy or sell
    #[arg(long, value_parser = word::<Side>)]
    #[serde(deserialize_with = "from_word")]
    side: Side,
    /// Total quantity in lots
    #[arg(long, value_name = "LOTS")]
    qty: u64,
    /// limit, market, iceberg, stop, stop_limit or trailing_stop
    #[arg(long = "type", value_name = "TYPE", value_parser = word::<OrdType>, default_value = "limit")]
    #[serde(rename = "type", deserialize_with = "from_word", default = "limit")]
    ord_type: OrdType,
    /// Limit in ticks
    #[arg(long, value_name = "TICKS", allow_negative_numbers = true)]
    price: Option<i64>,
    /// gtc, ioc, fok, day or gtd [default: gtc; ioc for a market order]
    #[arg(long, value_parser = word::<TimeInForce>)]
    #[serde(default, deserialize_with = "from_word_if_any")]
    tif: Option<TimeInForce>,
    /// Reject instead of trading on entry
    #[arg(long)]
    #[serde(default)]
    post_only: bool,
    /// Trigger price in ticks, for stops
    #[arg(long, value_name = "TICKS", allow_negative_numbers = true)]
    stop: Option<i64>,
    /// Distance in ticks to the last trade, for trailing stops
    #[arg(long, value_name = "TICKS")]
    trail: Option<i64>,
    /// Visible slice in lots, for icebergs
    #[arg(long, value_name = "LOTS")]
    display: Option<u64>,
    /// Least quantity in lots that must trade on entry
    #[arg(long, value_name = "LOTS")]
    min_qty: Option<u64>,
    /// When a gtd order ends, in nanoseconds since 1970 UTC
    #[arg(long, value_name = "NS")]
    expire: Option<u64>,
    /// All or none
    #[arg(long)]
    #[serde(default)]
    aon: bool,
    /// Self-trade mode: none, cancel_new, cancel_old, cancel_both or decrement
    #[arg(long, value_parser = word::<SelfMatch>, default_value = "none")]
    #[serde(default = "no_self_match", deserialize_with = "from_word")]
    stp: SelfMatch,
    /// Cancel on disconnect leaves this order alone
    #[arg(long)]
    #[serde(default)]
    stay: bool,
}

/// Change an order; it gets the request's ClOrdID as its own.
#[derive(Clone, Debug, PartialEq, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replace {
    #[command(flatten)]
    #[serde(flatten)]
    target: Target,
    /// New limit in ticks
    #[arg(long, value_name = "TICKS", allow_negative_numbers = true)]
    price: Option<i64>,
    /// New total quantity in lots, what has been filled included
    #[arg(long, value_name = "LOTS")]
    qty: Option<u64>,
    /// New trigger price in ticks
    #[arg(long, value_name = "TICKS", allow_negative_numbers = true)]
    stop: Option<i64>,
}

/// Take quantity off an order; at or above the open quantity it cancels.
#[derive(Clone, Debug, PartialEq, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reduce {
    #[command(flatten)]
    #[serde(flatten)]
    target: Target,
    /// How many lots to take off
    #[arg(long, value_name = "LOTS")]
    by: u64,
}

/// Cancel one order.
#[derive(Clone, Debug, PartialEq, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    #[command(flatten)]
    #[serde(flatten)]
    target: Target,
}

/// Cancel the session's orders that pass the filters.
#[derive(Clone, Debug, PartialEq, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MassCancel {
    /// Only orders on this instrument
    #[arg(long, value_name = "NAME")]
    instrument: Option<String>,
    /// Only buy or only sell orders
    #[arg(long, value_parser = word::<Side>)]
    #[serde(default, deserialize_with = "from_word_if_any")]
    side: Option<Side>,
    /// Orders of every account of the session, not only of --account
    #[arg(long)]
    #[serde(default)]
    all_accounts: bool,
}

/// Which order a request is about.
#[derive(Clone, Debug, PartialEq, clap::Args, Deserialize)]
#[group(required = true, multiple = false)]
pub struct Target {
    /// The order by its client id (ClOrdID)
    #[arg(long, value_name = "CLORDID", value_parser = clap::value_parser!(u64).range(1..))]
    order: Option<u64>,
    /// The order by the exchange's id (OrderID)
    #[arg(long, value_name = "ORDERID", value_parser = clap::value_parser!(u64).range(1..))]
    order_id: Option<u64>,
}

/// Why a request cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// The exchange lists no such instrument.
    #[error("no instrument is named `{0}`; `tessera admin instrument list` shows those that are")]
    UnknownInstrument(String),
    /// A quantity that the wire cannot carry.
    #[error(transparent)]
    TooManyLots(#[from] TooManyLots),
    /// A field that the order's type needs is missing, or one that it has no use for is there.
    #[error("a {0} order {1}")]
    Fields(&'static str, &'static str),
    /// Neither or both of the two ways to name an order.
    #[error("name the order by one of `order` (its ClOrdID) and `order_id` (the exchange's id)")]
    Target,
    /// A replace that changes nothing.
    #[error("a replace changes at least one of price, qty and stop")]
    NoChange,
}

impl TradeRequest {
    /// The message for this request under a client id; `instrument` finds instruments by name.
    ///
    /// # Errors
    /// [`RequestError`]; nothing has been sent.
    pub fn message(
        &self,
        id: ClOrdId,
        account: AccountId,
        instrument: impl Fn(&str) -> Option<InstrumentId>,
    ) -> Result<Request, RequestError> {
        let find = |name: &str| {
            instrument(name).ok_or_else(|| RequestError::UnknownInstrument(name.to_owned()))
        };
        Ok(match self {
            Self::Place(place) => {
                Request::New(place.message(id, account, find(&place.instrument)?)?)
            }
            Self::Replace(replace) => Request::Replace(replace.message(id, account)?),
            Self::Reduce(reduce) => {
                let (orig_cl_ord_id, order_id) = reduce.target.ids()?;
                Request::Reduce(wire::Reduce {
                    cl_ord_id: id,
                    account,
                    orig_cl_ord_id,
                    order_id,
                    by: lots(reduce.by)?,
                })
            }
            Self::Cancel(cancel) => {
                let (orig_cl_ord_id, order_id) = cancel.target.ids()?;
                Request::Cancel(wire::Cancel {
                    cl_ord_id: id,
                    account,
                    orig_cl_ord_id,
                    order_id,
                })
            }
            Self::MassCancel(mass) => Request::Mass(wire::MassAction {
                cl_ord_id: id,
                account: if mass.all_accounts {
                    AccountId::new(0)
                } else {
                    account
                },
                action: MassActionType::Cancel,
                scope: match mass.instrument {
                    Some(_) => MassActionScope::Instrument,
                    None => MassActionScope::All,
                },
                instrument: match &mass.instrument {
                    Some(name) => find(name)?,
                    None => InstrumentId::new(0),
                },
                product: 0,
                side: mass.side.map_or(SideCode::Any, SideCode::from),
                mmp_group: 0,
            }),
        })
    }
}

impl Place {
    fn message(
        &self,
        id: ClOrdId,
        account: AccountId,
        instrument: InstrumentId,
    ) -> Result<wire::NewOrderSingle, RequestError> {
        let word = self.ord_type.as_str();
        let check = |wanted: bool, there: bool, missing, extra| match (wanted, there) {
            (true, false) => Err(RequestError::Fields(word, missing)),
            (false, true) => Err(RequestError::Fields(word, extra)),
            _ => Ok(()),
        };
        let stops = matches!(self.ord_type, OrdType::Stop | OrdType::StopLimit);
        let (trails, iceberg) = (
            self.ord_type == OrdType::TrailingStop,
            self.ord_type == OrdType::Iceberg,
        );
        let has_price = self.ord_type.has_price();
        check(
            has_price,
            self.price.is_some(),
            "needs a price",
            "takes no price",
        )?;
        check(
            stops,
            self.stop.is_some(),
            "needs a stop price",
            "takes no stop price",
        )?;
        check(
            trails,
            self.trail.is_some(),
            "needs a trail",
            "takes no trail",
        )?;
        check(
            iceberg,
            self.display.is_some(),
            "needs a display",
            "takes no display",
        )?;
        let time_in_force = self.tif.unwrap_or(match self.ord_type {
            OrdType::Market => TimeInForce::Ioc,
            _ => TimeInForce::Gtc,
        });
        match (time_in_force == TimeInForce::Gtd, self.expire.is_some()) {
            (true, false) => return Err(RequestError::Fields("gtd", "needs a time to expire")),
            (false, true) => {
                return Err(RequestError::Fields(
                    time_in_force.as_str(),
                    "takes no time to expire",
                ));
            }
            _ => {}
        }
        let exec_inst = [
            (self.post_only, ExecInstBits::POST_ONLY),
            (self.aon, ExecInstBits::ALL_OR_NONE),
            (self.stay, ExecInstBits::STAY_ON_DISCONNECT),
        ]
        .into_iter()
        .filter(|&(wanted, _)| wanted)
        .fold(ExecInstBits::NONE, |all, (_, bit)| all.with(bit));
        Ok(wire::NewOrderSingle {
            cl_ord_id: id,
            account,
            instrument,
            side: self.side,
            ord_type: self.ord_type,
            time_in_force,
            price: Price::from_ticks(self.price.unwrap_or(0)),
            order_qty: lots(self.qty)?,
            min_qty: lots(self.min_qty.unwrap_or(0))?,
            display_qty: lots(self.display.unwrap_or(0))?,
            stop_px: self.stop.or(self.trail).unwrap_or(0),
            expire_time: Timestamp::from_nanos(self.expire.unwrap_or(0)),
            exec_inst,
            smp_id: 0,
            smp_mode: self.stp,
            mmp_group: 0,
            transact_time: now(),
        })
    }
}

impl Replace {
    fn message(
        &self,
        id: ClOrdId,
        account: AccountId,
    ) -> Result<wire::CancelReplace, RequestError> {
        let changes = [
            (self.price.is_some(), Changes::PRICE),
            (self.qty.is_some(), Changes::QTY),
            (self.stop.is_some(), Changes::STOP),
        ]
        .into_iter()
        .filter(|&(there, _)| there)
        .fold(Changes::NONE, |all, (_, bit)| all.with(bit));
        if changes == Changes::NONE {
            return Err(RequestError::NoChange);
        }
        let (orig_cl_ord_id, order_id) = self.target.ids()?;
        Ok(wire::CancelReplace {
            cl_ord_id: id,
            account,
            orig_cl_ord_id,
            order_id,
            price: Price::from_ticks(self.price.unwrap_or(0)),
            order_qty: lots(self.qty.unwrap_or(0))?,
            min_qty: Lots::ZERO,
            stop_px: Price::from_ticks(self.stop.unwrap_or(0)),
            expire_time: Timestamp::ZERO,
            exec_inst: ExecInstBits::NONE,
            changes,
            on_failure: Reserved,
            in_flight: Reserved,
        })
    }
}

impl Target {
    fn ids(&self) -> Result<(ClOrdId, OrderId), RequestError> {
        match (self.order, self.order_id) {
            (Some(id), None) if id > 0 => Ok((ClOrdId::new(id), OrderId::new(0))),
            (None, Some(id)) if id > 0 => Ok((ClOrdId::new(0), OrderId::new(id))),
            _ => Err(RequestError::Target),
        }
    }
}

fn lots(lots: u64) -> Result<Lots, TooManyLots> {
    Qty::from_lots(lots).try_into()
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// A value that is written as one of a few words.
pub(crate) trait Word: Copy + Send + Sync + 'static {
    const ALL: &'static [Self];
    fn as_word(self) -> &'static str;
}

macro_rules! words {
    ($($ty:ty),+) => {$(
        impl Word for $ty {
            const ALL: &'static [Self] = <$ty>::ALL;
            fn as_word(self) -> &'static str {
                self.as_str()
            }
        }
    )+};
}
words!(OrdType, TimeInForce, SelfMatch, Phase);

impl Word for Side {
    const ALL: &'static [Self] = &[Self::Buy, Self::Sell];
    fn as_word(self) -> &'static str {
        self.as_str()
    }
}

/// The value of a word, or what the words are.
pub(crate) fn word<T: Word>(text: &str) -> Result<T, String> {
    T::ALL
        .iter()
        .copied()
        .find(|value| value.as_word() == text)
        .ok_or_else(|| {
            let words: Vec<_> = T::ALL.iter().map(|value| value.as_word()).collect();
            format!("write one of {}", words.join(", "))
        })
}

fn from_word<'de, T: Word, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Visitor<T>(std::marker::PhantomData<T>);
    impl<T: Word> de::Visitor<'_> for Visitor<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a word")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            word(text).map_err(|words| E::custom(format!("`{text}` is unknown; {words}")))
        }
    }
    deserializer.deserialize_str(Visitor(std::marker::PhantomData))
}

fn from_word_if_any<'de, T: Word, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    from_word(deserializer).map(Some)
}

const fn limit() -> OrdType {
    OrdType::Limit
}

const fn no_self_match() -> SelfMatch {
    SelfMatch::None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(line: &str) -> Result<Request, String> {
        let request: TradeRequest = serde_json::from_str(line).map_err(|e| e.to_string())?;
        let find = |name: &str| (name == "TEST").then_some(InstrumentId::new(24));
        request
            .message(ClOrdId::new(9), AccountId::new(5), find)
            .map_err(|error| error.to_string())
    }

    fn refused(line: &str, expected: &str) {
        let found = message(line).unwrap_err();
        assert!(found.contains(expected), "{line}: {found}");
    }

    #[test]
    fn an_order_takes_the_defaults_of_its_type() {
        let place = |line| match message(line) {
            Ok(Request::New(m)) => m,
            other => panic!("{line}: {other:?}"),
        };
        let m = place(r#"{"op":"place","instrument":"TEST","side":"buy","qty":5,"price":-3}"#);
        assert_eq!(
            (m.cl_ord_id.get(), m.account.get(), m.instrument.get()),
            (9, 5, 24)
        );
        assert_eq!((m.price.ticks(), m.order_qty.get()), (-3, 5));
        assert_eq!(
            (m.ord_type, m.time_in_force),
            (OrdType::Limit, TimeInForce::Gtc)
        );
        let m =
            place(r#"{"op":"place","instrument":"TEST","side":"sell","qty":5,"type":"market"}"#);
        assert_eq!((m.side, m.time_in_force), (Side::Sell, TimeInForce::Ioc));
        let m = place(
            r#"{"op":"place","instrument":"TEST","side":"sell","qty":5,"price":1,"tif":"gtd","expire":77,"post_only":true}"#,
        );
        assert_eq!(m.expire_time.nanos(), 77);
        assert!(m.exec_inst.contains(ExecInstBits::POST_ONLY));
    }

    #[test]
    fn orders_are_named_one_way() {
        let cancel = |line| match message(line) {
            Ok(Request::Cancel(m)) => (m.orig_cl_ord_id.get(), m.order_id.get()),
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(cancel(r#"{"op":"cancel","order":4}"#), (4, 0));
        assert_eq!(cancel(r#"{"op":"cancel","order_id":4}"#), (0, 4));
        refused(r#"{"op":"cancel"}"#, "name the order by one of");
        refused(
            r#"{"op":"cancel","order":1,"order_id":2}"#,
            "name the order by one of",
        );
        refused(r#"{"op":"cancel","order":0}"#, "name the order by one of");
    }

    #[test]
    fn replaces_say_what_changes() {
        let Ok(Request::Replace(m)) = message(r#"{"op":"replace","order":4,"qty":7}"#) else {
            panic!("a replace");
        };
        assert_eq!((m.changes, m.order_qty.get()), (Changes::QTY, 7));
        refused(
            r#"{"op":"replace","order":4}"#,
            "at least one of price, qty and stop",
        );
    }

    #[test]
    fn what_cannot_be_sent_is_said() {
        let too_many =
            r#"{"op":"place","instrument":"TEST","side":"buy","qty":4294967296,"price":1}"#;
        refused(too_many, "4294967296 lots do not fit");
        refused(
            r#"{"op":"place","instrument":"NOPE","side":"buy","qty":5,"price":1}"#,
            "no instrument is named `NOPE`",
        );
        refused(
            r#"{"op":"place","instrument":"TEST","side":"buy","qty":5}"#,
            "a limit order needs a price",
        );
        refused(
            r#"{"op":"place","instrument":"TEST","side":"buy","qty":5,"type":"market","price":1}"#,
            "a market order takes no price",
        );
        refused(
            r#"{"op":"place","instrument":"TEST","side":"by","qty":5,"price":1}"#,
            "`by` is unknown; write one of buy, sell",
        );
        refused(
            r#"{"op":"place","instrument":"TEST","side":"buy","qty":5,"price":1,"prise":2}"#,
            "unknown field `prise`",
        );
        refused(
            r#"{"op":"cancel","order":1,"oder":2}"#,
            "unknown field `oder`",
        );
        refused(r#"{"op":"sell"}"#, "unknown variant `sell`");
    }
}
