//! Three markets on the real engine: single contracts, retrying, and the lattice.

use anyhow::{Context, Result};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;
use serde_json::{Value, json};

use crate::outcome::{CUT, Outcome};
use crate::venue::{Machine, Owner, Venue, name, start};
use crate::world::{Arrival, PROFILES, Product, WINDOWS, World, ZONES};

/// Buyers look at one contract each; `retry` lets the flexible ones try the others too.
///
/// # Errors
/// When the engine refuses what it must take.
pub(crate) fn single(world: &World, retry: bool, machine: Machine) -> Result<Outcome> {
    let mut venue = Venue::new(world, false, machine)?;
    let mut waiting: Vec<Option<u64>> = vec![None; world.buyers.len()];
    for &arrival in &world.arrivals {
        match arrival {
            Arrival::Pool(pool) => list_cut(world, &mut venue, pool)?,
            Arrival::Buyer(buyer) => waiting[buyer] = enter(world, &mut venue, buyer, retry)?,
        }
    }
    for buyer in last_round(world) {
        if let Some(id) = waiting[buyer] {
            venue.send(&json!({"op": "cancel", "id": id}))?;
        }
        enter(world, &mut venue, buyer, retry)?;
    }
    Ok(Outcome::of(world, &venue.trades))
}

/// Substitution, carving and blocks.
///
/// # Errors
/// When the engine refuses what it must take.
pub(crate) fn lattice(world: &World, machine: Machine) -> Result<Outcome> {
    let mut venue = Venue::new(world, true, machine)?;
    let mut waiting: Vec<Option<u64>> = vec![None; world.buyers.len()];
    // Carves that met a bid and were refused (they are post-only): they come again in the last round.
    let mut refused = Vec::new();
    for &arrival in &world.arrivals {
        match arrival {
            Arrival::Pool(pool) => refused.extend(list_whole(world, &mut venue, pool)?),
            Arrival::Buyer(buyer) => waiting[buyer] = substitute(world, &mut venue, buyer)?,
        }
    }
    let last = last_round(world);
    for &buyer in &last {
        if let Some(id) = waiting[buyer] {
            venue.send(&json!({"op": "cancel", "id": id}))?;
        }
    }
    for (pool, window) in refused {
        carve(world, &mut venue, pool, window)?;
    }
    for buyer in last {
        substitute(world, &mut venue, buyer)?;
    }
    Ok(Outcome::of(world, &venue.trades))
}

/// At the end every buyer who lacks something tries once more, in another order.
fn last_round(world: &World) -> Vec<usize> {
    let mut buyers: Vec<usize> = (0..world.buyers.len()).collect();
    buyers.shuffle(&mut Pcg64Mcg::seed_from_u64(7));
    buyers
}

/// What a buyer still wants in its first window.
fn missing(world: &World, venue: &Venue, buyer: usize) -> u64 {
    let wanted = &world.buyers[buyer];
    let own = venue
        .trades
        .iter()
        .filter(|trade| trade.buyer == buyer && trade.window == wanted.window);
    wanted.lots - own.map(|trade| trade.lots).sum::<u64>()
}

/// A seller without carving: a quarter of the devices are cut beforehand, the rest are whole.
fn list_cut(world: &World, venue: &mut Venue, pool: usize) -> Result<()> {
    let of = world.pools[pool];
    let has_slices = world.classes[of.class].slices.is_some();
    let cut = if has_slices {
        of.devices.div_ceil(4)
    } else {
        0
    };
    for window in 0..WINDOWS {
        let whole = [(None, of.devices - cut, of.cost)].into_iter();
        let slices = CUT
            .iter()
            .enumerate()
            .map(|(profile, each)| (Some(profile), cut * each, world.slice_price(pool, profile)));
        for (profile, lots, price) in whole.chain(slices).filter(|offer| offer.1 > 0) {
            let product = Product {
                class: of.class,
                zone: of.zone,
                profile,
            };
            let id = venue.id(Owner::Pool { pool, carve: false });
            venue.must(&json!({"op": "new", "id": id, "party": format!("s{pool}"),
                "instrument": name(world, product, window), "side": "sell", "price": price,
                "qty": lots}))?;
        }
    }
    Ok(())
}

/// A buyer without substitution; returns what rests.
fn enter(world: &World, venue: &mut Venue, buyer: usize, retry: bool) -> Result<Option<u64>> {
    let mut choices = world.choices(buyer);
    if !retry {
        choices.truncate(1);
    }
    if world.buyers[buyer].windows > 1 {
        for product in choices {
            if strip_by_hand(world, venue, buyer, product)? {
                break;
            }
        }
        return Ok(None);
    }
    let window = world.buyers[buyer].window;
    if retry {
        for &product in &choices {
            order(world, venue, buyer, product, window, "ioc")?;
        }
    }
    order(world, venue, buyer, choices[0], window, "gtc")
}

fn order(
    world: &World,
    venue: &mut Venue,
    buyer: usize,
    product: Product,
    window: usize,
    tif: &str,
) -> Result<Option<u64>> {
    let lots = missing(world, venue, buyer);
    let price = world.limit(buyer, product);
    if lots == 0 || price < 1 {
        return Ok(None);
    }
    let id = venue.id(Owner::Buyer(buyer));
    venue.must(&json!({"op": "new", "id": id, "party": format!("b{buyer}"),
        "instrument": name(world, product, window), "side": "buy", "price": price, "qty": lots,
        "tif": tif}))?;
    Ok(Some(id))
}

/// A strip bought window by window, when every window shows enough at the price; says whether.
fn strip_by_hand(world: &World, venue: &mut Venue, buyer: usize, product: Product) -> Result<bool> {
    let of = &world.buyers[buyer];
    let windows = of.window..of.window + of.windows;
    if missing(world, venue, buyer) == 0 {
        return Ok(true);
    }
    let price = world.limit(buyer, product);
    for window in windows.clone() {
        let events =
            venue.must(&json!({"op": "depth", "instrument": name(world, product, window)}))?;
        let asks = events.first().and_then(|depth| depth["asks"].as_array());
        let shown: u64 = asks
            .context("a depth has asks")?
            .iter()
            .filter(|level| level[0].as_i64().is_some_and(|ask| ask <= price))
            .filter_map(|level| level[1].as_u64())
            .sum();
        if shown < of.lots {
            return Ok(false);
        }
    }
    for window in windows {
        let id = venue.id(Owner::Buyer(buyer));
        venue.must(&json!({"op": "new", "id": id, "party": format!("b{buyer}"),
            "instrument": name(world, product, window), "side": "buy", "price": price,
            "qty": of.lots, "tif": "ioc"}))?;
    }
    Ok(true)
}

/// A seller with carving: every device is asked for whole, and half of them in slices too. Returns the
/// carves that were refused.
fn list_whole(world: &World, venue: &mut Venue, pool: usize) -> Result<Vec<(usize, usize)>> {
    let of = world.pools[pool];
    let class = &world.classes[of.class];
    venue.must(
        &json!({"op": "pool", "pool": format!("p{pool}"), "party": format!("s{pool}"),
        "class": class.name, "zone": ZONES[of.zone], "path": [of.zone, pool],
        "first_device": pool * 100, "devices": of.devices}),
    )?;
    venue.must(
        &json!({"op": "attest", "pool": format!("p{pool}"), "qty": of.devices,
        "until": i64::MAX, "score": 9_000}),
    )?;
    for window in 0..WINDOWS {
        let product = Product {
            class: of.class,
            zone: of.zone,
            profile: None,
        };
        let id = venue.id(Owner::Pool { pool, carve: false });
        venue.must(&json!({"op": "new", "id": id, "party": format!("s{pool}"),
            "instrument": name(world, product, window), "side": "sell", "price": of.cost,
            "qty": of.devices, "pool": format!("p{pool}")}))?;
    }
    let mut refused = Vec::new();
    if class.slices.is_some() {
        for window in 0..WINDOWS {
            for _ in 0..of.devices.div_ceil(2) {
                if !carve(world, venue, pool, window)? {
                    refused.push((pool, window));
                }
            }
        }
    }
    Ok(refused)
}

/// Offers one device in slices; says whether the exchange took the offer.
fn carve(world: &World, venue: &mut Venue, pool: usize, window: usize) -> Result<bool> {
    let id = venue.id(Owner::Pool { pool, carve: true });
    let mut prices = serde_json::Map::new();
    for (profile, (profile_name, _, _)) in PROFILES.iter().enumerate() {
        let price = world.slice_price(pool, profile);
        prices.insert((*profile_name).to_owned(), price.into());
    }
    let events = venue.send(
        &json!({"op": "carve", "id": id, "party": format!("s{pool}"),
        "pool": format!("p{pool}"), "start": start(window), "hours": crate::world::HOURS,
        "prices": prices}),
    )?;
    Ok(events.iter().any(|event| event["ev"] == "accepted"))
}

/// A buyer with substitution and blocks; returns what rests.
fn substitute(world: &World, venue: &mut Venue, buyer: usize) -> Result<Option<u64>> {
    let of = &world.buyers[buyer];
    let lots = missing(world, venue, buyer);
    if lots == 0 {
        return Ok(None);
    }
    if of.windows > 1 {
        for product in world.choices(buyer) {
            if strip(world, venue, buyer, product)? {
                break;
            }
        }
        return Ok(None);
    }
    if !world.is_flexible(buyer) {
        return order(world, venue, buyer, of.first, of.window, "gtc");
    }
    let leg: Value = match of.first.profile {
        None => json!({"partition": ["whole"]}),
        Some(least) => {
            let profiles: Vec<&str> = PROFILES[least..].iter().map(|profile| profile.0).collect();
            json!({"partition": ["mig"], "profile": profiles})
        }
    };
    #[expect(clippy::cast_possible_truncation, reason = "prices are far below 2^52")]
    let limit = of.value.floor() as i64;
    let id = venue.id(Owner::Buyer(buyer));
    venue.must(&json!({"op": "sub", "id": id, "party": format!("b{buyer}"),
        "start": start(of.window), "hours": crate::world::HOURS, "qty": lots,
        "workload": "inference", "limit": limit, "legs": [leg]}))?;
    Ok(Some(id))
}

/// A strip as a block, with up to three moves at the worth of an hour; says whether it traded.
fn strip(world: &World, venue: &mut Venue, buyer: usize, product: Product) -> Result<bool> {
    let of = &world.buyers[buyer];
    let price = world.limit(buyer, product);
    let fee = price * i64::try_from(of.lots)?;
    let id = venue.id(Owner::Buyer(buyer));
    let events = venue.must(
        &json!({"op": "block", "id": id, "party": format!("b{buyer}"),
        "instrument": name(world, product, of.window), "qty": of.lots, "windows": of.windows,
        "moves": 3, "fee": fee, "limit": price}),
    )?;
    Ok(events.iter().any(|event| event["ev"] == "block"))
}
