//! Carving: one whole device of a pool offered as hardware slices. \[31\] to \[35\]
//!
//! The carve holds a shadow ask per priced profile with what could be placed now, so one slice sold
//! changes all of them.

use tessera_types::{
    CancelReason, CarveOrder, ContractEvent, Event, EventSink, LeaseId, MAX_CONTRACT_PRICE,
    MigProfile, Partition, Phase, PoolId, RejectReason, Side, SlotList,
};

use super::groups::{Group, GroupKind};
use super::lattice::{PROFILES, State};
use super::listing::{self, MAX_HOURS, coordinate};
use super::pools::{Ask, AskList};
use super::{Tag, Window, ensure};
use crate::exchange::Exchange;

/// A device that is offered in slices.
#[derive(Clone, Debug)]
pub(crate) struct Carve {
    pub(crate) pool: usize,
    pub(crate) window: Window,
    pub(crate) state: State,
    /// By code of the profile.
    pub(crate) slices: [Option<Slice>; PROFILES],
}

/// One profile of a carve.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    pub(crate) book: u32,
    pub(crate) price: i64,
    /// Its ask; 0 once its capacity is gone.
    pub(crate) shadow: u32,
}

/// What a fill places.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placement {
    pub(crate) starts: SlotList,
    /// What of the profile is left.
    pub(crate) left: u64,
    /// It sold the device.
    pub(crate) first: bool,
}

impl Exchange {
    pub(super) fn carve(&self, group: u64) -> Option<&Carve> {
        match &self.contracts.groups.get(&group)?.kind {
            GroupKind::Carve(carve) => Some(carve),
            _ => None,
        }
    }

    fn carve_mut(&mut self, group: u64) -> &mut Carve {
        match self.contracts.groups.get_mut(&group) {
            Some(Group {
                kind: GroupKind::Carve(carve),
                ..
            }) => carve,
            _ => unreachable!("slices belong to a live carve"),
        }
    }

    pub(super) fn carve_pool(&self, group: u64) -> Option<PoolId> {
        let pool = u32::try_from(self.carve(group)?.pool).ok()?;
        Some(PoolId::new(pool))
    }

    pub(super) fn on_carve<S: EventSink + ?Sized>(
        &mut self,
        request: &CarveOrder,
        sink: &mut S,
    ) -> Result<(), RejectReason> {
        let header = &request.header;
        let sizes = request.prices.iter().flatten();
        let mut sizes = sizes.map(|price| price.ticks().unsigned_abs());
        let form = header.cl_ord_id.get() != 0
            && request.tier <= 4
            && (1..=MAX_HOURS).contains(&request.hours)
            && request
                .start_hour
                .checked_add(u32::from(request.hours))
                .is_some()
            && request.prices.iter().any(Option::is_some)
            && sizes.all(|size| size <= MAX_CONTRACT_PRICE.unsigned_abs());
        ensure(form, RejectReason::BadField)?;
        let at = self.pool_of(header.account, request.pool)?;
        let whole = self.contracts.pools[at].partition == Partition::Whole;
        ensure(whole, RejectReason::WrongPool)?;
        let slices = self.carve_slices(request, at)?;
        let mut books: Vec<u32> = slices.iter().flatten().map(|slice| slice.book).collect();
        books.sort_unstable();
        for &book in &books {
            self.admits_group(book as usize)?;
        }
        self.check_id(header)?;
        for slice in slices.iter().flatten() {
            let fits = self.books[slice.book as usize].price_fits(slice.price);
            ensure(fits, RejectReason::BadPrice)?;
        }
        let list = AskList::Pool(at);
        let room = self.live_asks(list) < super::pools::MAX_ASKS;
        ensure(room, RejectReason::TooManyOrders)?;
        let window = Window {
            start: request.start_hour,
            end: request.start_hour + u32::from(request.hours),
        };
        let free = self.contracts.pools[at].free(window) > 0;
        ensure(free, RejectReason::Inventory)?;
        for slice in slices.iter().flatten() {
            let meets = self.meets_bid(
                slice.book as usize,
                slice.price,
                request.pool,
                header.account,
            );
            ensure(!meets, RejectReason::PostOnly)?;
        }
        let first = books[0];
        let price = slices.iter().flatten().map(|slice| slice.price).min();
        let slot = self.accept_group(header, first, Side::Sell, price.unwrap_or(0), 1, sink);
        let id = self.store.orders[slot].id;
        let carve = Carve {
            pool: at,
            window,
            state: State::default(),
            slices,
        };
        self.keep_group(slot, GroupKind::Carve(Box::new(carve)));
        for (profile, slice) in slices.into_iter().enumerate() {
            let Some(Slice { book, price, .. }) = slice else {
                continue;
            };
            let qty = u64::from(State::default().capacity(profile));
            let code = MigProfile::ALL[profile].code();
            let tag = Tag::Slice {
                group: id,
                profile: code,
            };
            let shadow = self.add_shadow(slot, book, price, qty, tag);
            if let Some(slice) = &mut self.carve_mut(id).slices[profile] {
                slice.shadow = shadow;
            }
        }
        self.room_for_ask(list, super::pools::MAX_ASKS);
        self.asks_mut(list).push(Ask { id, slot, window });
        Ok(())
    }

    /// The contracts of the priced profiles.
    fn carve_slices(
        &self,
        request: &CarveOrder,
        pool: usize,
    ) -> Result<[Option<Slice>; PROFILES], RejectReason> {
        let pool = &self.contracts.pools[pool];
        let catalogue = self.catalogue.as_ref().ok_or(RejectReason::NoContract)?;
        let mut slices = [None; PROFILES];
        for (profile, price) in request.prices.iter().enumerate() {
            let Some(price) = price else { continue };
            let numbers = 0..u8::try_from(catalogue.profiles.len()).unwrap_or(u8::MAX);
            let mut named = numbers.filter(|&number| {
                listing::mig_profile(catalogue, number) == Some(MigProfile::ALL[profile])
            });
            let number = named.next().ok_or(RejectReason::NoContract)?;
            let place = (
                pool.class,
                Partition::Mig.code(),
                number,
                request.tier,
                pool.zone,
                request.start_hour,
                request.hours,
            );
            let book = self.contracts.coordinates.get(&place);
            let &book = book.ok_or(RejectReason::NoContract)?;
            debug_assert_eq!(coordinate(self.terms(book as usize)), place);
            slices[profile] = Some(Slice {
                book,
                price: price.ticks(),
                shadow: 0,
            });
        }
        Ok(slices)
    }

    /// Whether a group order may enter in this contract now.
    pub(super) fn admits_group(&self, number: usize) -> Result<(), RejectReason> {
        match self.books[number].phase {
            Phase::Continuous => Ok(()),
            Phase::Auction => Err(RejectReason::WrongPhase),
            Phase::Halt => Err(RejectReason::Halted),
            Phase::Closed => Err(RejectReason::Closed),
        }
    }

    /// Lots of resting bids, shadows included, in the contracts of a carve, as far as they matter. A
    /// bid that is just buying is not counted. \[34\]
    pub(super) fn carve_demand(&self, carve: &Carve, state: State, buyer: u32) -> [u32; PROFILES] {
        let mut demand = [0; PROFILES];
        for (profile, slice) in carve.slices.iter().enumerate() {
            let Some(slice) = slice else { continue };
            let most = u64::from(state.capacity(profile));
            let mut lots = 0;
            for bid in self.queued(slice.book as usize, Side::Buy) {
                if lots >= most {
                    break;
                }
                if bid != buyer {
                    lots += self.store.orders[bid].leaves;
                }
            }
            demand[profile] = u32::try_from(lots.min(most)).unwrap_or(0);
        }
        demand
    }

    /// Places slices on the device, one at a time. \[34\]
    pub(super) fn place_slices(
        &mut self,
        group: u64,
        profile: u8,
        qty: u32,
        buyer: u32,
    ) -> Placement {
        let at = usize::from(profile);
        let Some(carve) = self.carve(group) else {
            unreachable!("slices belong to a live carve")
        };
        let (mut state, first) = (carve.state, carve.state.compute_used == 0);
        let mut starts = SlotList::default();
        for _ in 0..qty {
            let demand = self.carve_demand(carve, state, buyer);
            let Some(start) = state.place(at, &demand) else {
                unreachable!("no more is sold than there is room for")
            };
            starts.push(start);
            state = state.with(at, start);
        }
        self.carve_mut(group).state = state;
        Placement {
            starts,
            left: u64::from(state.capacity(at)),
            first,
        }
    }

    pub(super) fn emit_placed<S: EventSink + ?Sized>(
        &mut self,
        group: u64,
        profile: u8,
        lease: LeaseId,
        placed: &Placement,
        sink: &mut S,
    ) {
        let Some(Group { slot, .. }) = self.contracts.groups.get(&group) else {
            return;
        };
        let slot = *slot;
        let state = self.carve_mut(group).state;
        let event = ContractEvent::Placed {
            party: self.party(slot),
            lease,
            profile: MigProfile::ALL[usize::from(profile)],
            starts: placed.starts,
            mem_mask: state.mem_mask,
            compute_used: state.compute_used,
        };
        self.emit(Event::Contract(event), sink);
    }

    /// Brings the asks of a carve to what can be placed now; the first slice sells the device. \[35\]
    pub(super) fn settle_carve<S: EventSink + ?Sized>(
        &mut self,
        group: u64,
        first: bool,
        sink: &mut S,
    ) {
        let carve = self.carve_mut(group);
        let (state, pool, window) = (carve.state, carve.pool, carve.window);
        let slices = carve.slices;
        let mut live = false;
        for (profile, slice) in slices.into_iter().enumerate() {
            let Some(slice) = slice.filter(|slice| slice.shadow != 0) else {
                continue;
            };
            let capacity = u64::from(state.capacity(profile));
            if capacity == 0 {
                self.drop_shadow(slice.book, slice.shadow);
                if let Some(slice) = &mut self.carve_mut(group).slices[profile] {
                    slice.shadow = 0;
                }
            } else {
                self.store.set_shadow(slice.shadow, capacity);
                live = true;
            }
        }
        if first {
            self.contracts.pools[pool].taken.add(window, 1);
        }
        if !live {
            self.end_group(group, sink);
        }
        if first {
            self.shrink_pool(pool, Some(window), CancelReason::Inventory, sink);
        }
    }
}
