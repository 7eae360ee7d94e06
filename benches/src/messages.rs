//! Flows as messages of the public benchmark's interface.

use tessera_bench::layout::{Cancel, Message, Modify, NewOrder, View};
use tessera_types::{Command, OrderTarget, Price, Qty, Sequenced, TimeInForce};

/// The commands as messages, numbered from 0. Order ids are client ids less one, so dense from 0.
///
/// Commands without a message (phases, say) are left out. A replace names its order's total; here it
/// becomes a modify that names the open quantity, with the same number: so an order that was filled in
/// part means something else, and the two forms of a flow are not compared with each other.
#[must_use]
pub fn of(commands: &[Sequenced]) -> Vec<Message> {
    let mut messages = Vec::with_capacity(commands.len());
    for command in commands {
        let view = view(&command.command, messages.len() as u64);
        messages.extend(view.map(Message::from));
    }
    messages
}

fn view(command: &Command, sequence_number: u64) -> Option<View> {
    Some(match command {
        Command::NewOrder(new) => View::New(NewOrder {
            order_id: new.header.cl_ord_id.get().checked_sub(1)?,
            sequence_number,
            price_ticks: new.price.ticks(),
            quantity: u32::try_from(new.qty.lots()).ok()?,
            side: new.side as u8,
            ioc: u8::from(new.time_in_force == TimeInForce::Ioc),
            ..NewOrder::default()
        }),
        Command::Cancel(cancel) => View::Cancel(Cancel {
            order_id: id(cancel.target)?,
            sequence_number,
        }),
        Command::Replace(replace) => View::Modify(Modify {
            order_id: id(replace.target)?,
            sequence_number,
            new_price_ticks: replace.price.map(Price::ticks)?,
            new_quantity: u32::try_from(replace.qty.map(Qty::lots)?).ok()?,
            ..Modify::default()
        }),
        _ => return None,
    })
}

fn id(target: OrderTarget) -> Option<u64> {
    match target {
        OrderTarget::Client(id) => id.get().checked_sub(1),
        OrderTarget::Exchange(_) => None,
    }
}
