//! Sorted map from a 64-bit rank to a `u32` handle: a 64-ary trie with a bitmap per node.
//!
//! A leaf covers 64 neighbouring ranks, so the prices around the touch share one or two leaves and a
//! step to the next level is one bit scan. Chains of single children are skipped: a node exists only
//! where two ranks part, so a far price costs at most two nodes wherever it lies, a book of one leaf
//! is one node deep, and a touch that runs away needs no re-centring. No operation takes more than
//! eleven steps. The usual alternative, an array window with a fallback map, was rejected because the
//! fallback needs a second structure and re-centring makes a slow case.
//!
//! Nodes of all ladders live in one [`Slab`].

use super::slab::{NONE, Record, Slab};

/// One node: the ranks that share `prefix`, split by the 6 bits above `height * 6`.
///
/// The head and what stands beside it share a cache line; an entry is in one of the four others.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Node {
    /// Which of the 64 children exist.
    bits: u64,
    /// The rank without the bits that this node and those below it decide.
    prefix: u64,
    parent: u32,
    /// 0 for a leaf, whose children are the values. [`FREE`] while unused.
    height: u32,
    children: [u32; 64],
}

const FREE: u32 = u32::MAX;
const BITS: u32 = 6;

impl Node {
    /// Makes a record a node without children. What stands in their places means nothing.
    fn begin(&mut self, rank: u64, height: u32, parent: u32) {
        self.bits = 0;
        self.prefix = prefix(rank, height);
        self.parent = parent;
        self.height = height;
    }

    /// The place of a child that may not exist: then anything stands there.
    #[inline(always)]
    pub(crate) fn entry(&self, index: usize) -> &u32 {
        &self.children[index % 64]
    }

    /// The lowest rank that this node covers.
    fn base(&self) -> u64 {
        self.prefix
            .checked_shl(BITS * (self.height + 1))
            .unwrap_or(0)
    }

    fn set(&mut self, index: usize, child: u32) {
        self.bits |= 1 << index;
        self.children[index] = child;
    }

    fn get(&self, index: usize) -> Option<u32> {
        (self.bits >> index & 1 == 1).then(|| self.children[index])
    }

    fn first(&self) -> u32 {
        self.children[self.bits.trailing_zeros() as usize]
    }

    /// The first child behind `index`.
    fn after(&self, index: usize) -> Option<u32> {
        let rest = self.bits & (u64::MAX << index << 1);
        (rest != 0).then(|| self.children[rest.trailing_zeros() as usize])
    }
}

impl Record for Node {
    const NULL: Self = Self {
        bits: 0,
        prefix: 0,
        parent: NONE,
        height: FREE,
        children: [NONE; 64],
    };

    fn set_free(&mut self, next: u32) {
        self.height = FREE;
        self.parent = next;
    }

    fn next_free(&self) -> Option<u32> {
        (self.height == FREE).then_some(self.parent)
    }
}

/// Rank without the bits that a node of this height and those below it decide.
fn prefix(rank: u64, height: u32) -> u64 {
    rank.checked_shr(BITS * (height + 1)).unwrap_or(0)
}

/// Which child of a node of this height leads to `rank`.
fn index(rank: u64, height: u32) -> usize {
    (rank >> (BITS * height) & 63) as usize
}

/// One sorted map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ladder {
    root: u32,
    /// The leaves used last, by the low bits of their place: most operations stay near the touch and
    /// start here. A leaf that goes leaves its entry first.
    near: [u32; NEAR],
}

/// Four neighbouring leaves have entries of their own: 256 ranks.
const NEAR: usize = 4;

/// The entry of a rank's leaf.
#[inline]
fn near(rank: u64) -> usize {
    (rank >> BITS) as usize % NEAR
}

impl Ladder {
    pub(crate) const EMPTY: Self = Self {
        root: NONE,
        near: [NONE; NEAR],
    };

    /// The value at `rank`.
    #[inline(always)]
    pub(crate) fn get(&mut self, nodes: &Slab<Node>, rank: u64) -> Option<u32> {
        let leaf = self.find_leaf(nodes, rank)?;
        self.near[near(rank)] = leaf;
        nodes[leaf].get(index(rank, 0))
    }

    /// The leaf of `rank` if it was used lately, else [`NONE`] or a wrong one, and its entry there:
    /// for hints.
    #[inline(always)]
    pub(crate) fn guess(&self, rank: u64) -> (u32, usize) {
        (self.near[near(rank)], index(rank, 0))
    }

    /// Adds a value at a rank that has none.
    pub(crate) fn insert(&mut self, nodes: &mut Slab<Node>, rank: u64, value: u32) {
        if let Some(leaf) = self.find_leaf(nodes, rank) {
            debug_assert!(
                nodes[leaf].get(index(rank, 0)).is_none(),
                "rank {rank} is taken"
            );
            nodes[leaf].set(index(rank, 0), value);
            self.near[near(rank)] = leaf;
            return;
        }
        let leaf = nodes.insert_with(|node| node.begin(rank, 0, NONE));
        nodes[leaf].set(index(rank, 0), value);
        self.near[near(rank)] = leaf;
        if self.root == NONE {
            self.root = leaf;
            return;
        }
        // Go down to where the rank leaves the trie: beside a node, or into an empty place of one.
        let mut at = self.root;
        loop {
            let node = &nodes[at];
            if prefix(rank, node.height) != node.prefix {
                let base = node.base();
                let parent = node.parent;
                let height = (63 - (rank ^ base).leading_zeros()) / BITS;
                let joint = nodes.insert_with(|node| node.begin(rank, height, parent));
                nodes[joint].set(index(base, height), at);
                nodes[joint].set(index(rank, height), leaf);
                nodes[at].parent = joint;
                nodes[leaf].parent = joint;
                self.replace_child(nodes, parent, rank, joint);
                return;
            }
            let place = index(rank, node.height);
            match node.get(place) {
                Some(child) => at = child,
                None => {
                    nodes[at].set(place, leaf);
                    nodes[leaf].parent = at;
                    return;
                }
            }
        }
    }

    /// Takes out a rank that has a value.
    pub(crate) fn remove(&mut self, nodes: &mut Slab<Node>, rank: u64) {
        let leaf = self
            .find_leaf(nodes, rank)
            .expect("only ranks that have a value are removed");
        let node = &mut nodes[leaf];
        node.bits &= !(1 << index(rank, 0));
        if node.bits != 0 {
            return;
        }
        let parent = node.parent;
        nodes.remove(leaf);
        if self.near[near(rank)] == leaf {
            self.near[near(rank)] = NONE;
        }
        if parent == NONE {
            self.root = NONE;
            return;
        }
        let joint = &mut nodes[parent];
        joint.bits &= !(1 << index(rank, joint.height));
        if joint.bits.count_ones() == 1 {
            let only = joint.first();
            let above = joint.parent;
            nodes.remove(parent);
            nodes[only].parent = above;
            self.replace_child(nodes, above, rank, only);
        }
    }

    /// The value of the lowest rank.
    pub(crate) fn first(&self, nodes: &Slab<Node>) -> Option<u32> {
        (self.root != NONE).then(|| descend(nodes, self.root))
    }

    /// The value of the first rank above `rank`, which must have a value.
    #[inline]
    pub(crate) fn next(&self, nodes: &Slab<Node>, rank: u64) -> Option<u32> {
        let mut at = self.find_leaf(nodes, rank)?;
        if let Some(value) = nodes[at].after(index(rank, 0)) {
            return Some(value);
        }
        loop {
            at = nodes[at].parent;
            if at == NONE {
                return None;
            }
            let node = &nodes[at];
            if let Some(child) = node.after(index(rank, node.height)) {
                return Some(descend(nodes, child));
            }
        }
    }

    #[inline(always)]
    fn find_leaf(&self, nodes: &Slab<Node>, rank: u64) -> Option<u32> {
        let leaf = self.near[near(rank)];
        if leaf != NONE && nodes[leaf].prefix == prefix(rank, 0) {
            return Some(leaf);
        }
        self.descend_to(nodes, rank)
    }

    #[cold]
    fn descend_to(&self, nodes: &Slab<Node>, rank: u64) -> Option<u32> {
        let mut at = self.root;
        while at != NONE {
            let node = &nodes[at];
            if prefix(rank, node.height) != node.prefix {
                return None;
            }
            if node.height == 0 {
                return Some(at);
            }
            at = node.get(index(rank, node.height))?;
        }
        None
    }

    /// Makes `child` what `parent` has on the way to `rank`; without a parent it becomes the root.
    fn replace_child(&mut self, nodes: &mut Slab<Node>, parent: u32, rank: u64, child: u32) {
        if parent == NONE {
            self.root = child;
        } else {
            let node = &mut nodes[parent];
            node.children[index(rank, node.height)] = child;
        }
    }

    /// Panics unless the trie is well formed; returns how many nodes it has.
    pub(crate) fn check(&self, nodes: &Slab<Node>) -> usize {
        for leaf in self.near.into_iter().filter(|&leaf| leaf != NONE) {
            assert_eq!(nodes[leaf].height, 0, "a remembered leaf is one");
            let found = self.descend_to(nodes, nodes[leaf].base());
            assert_eq!(found, Some(leaf), "a remembered leaf is in the trie");
        }
        if self.root == NONE {
            0
        } else {
            check_node(nodes, self.root, NONE)
        }
    }
}

fn descend(nodes: &Slab<Node>, mut at: u32) -> u32 {
    loop {
        let node = &nodes[at];
        let first = node.first();
        if node.height == 0 {
            return first;
        }
        at = first;
    }
}

fn check_node(nodes: &Slab<Node>, at: u32, parent: u32) -> usize {
    let node = &nodes[at];
    assert!(node.next_free().is_none(), "a free node is in a trie");
    assert_eq!(node.parent, parent, "parent of node {at}");
    if node.height == 0 {
        assert_ne!(node.bits, 0, "leaf {at} is empty");
        return 1;
    }
    assert!(node.bits.count_ones() >= 2, "node {at} decides nothing");
    let mut count = 1;
    for place in 0..64 {
        if let Some(child) = node.get(place) {
            assert!(nodes[child].height < node.height, "heights fall");
            assert_eq!(
                prefix(nodes[child].base(), node.height),
                node.prefix,
                "prefix"
            );
            assert_eq!(index(nodes[child].base(), node.height), place, "place");
            count += check_node(nodes, child, at);
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn ranks() -> impl Strategy<Value = u64> {
        prop_oneof![
            4 => 33_000u64..33_400,
            1 => any::<u64>(),
            1 => (0u32..64).prop_map(|bit| 1 << bit),
            1 => Just(u64::MAX),
            1 => Just(0),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_sorted_map(steps in prop::collection::vec((ranks(), any::<bool>()), 1..400)) {
            let mut nodes = Slab::with_capacity(0);
            let mut ladder = Ladder::EMPTY;
            let mut plain = BTreeMap::new();
            for (value, (rank, insert)) in (0u32..).zip(steps) {
                if insert && !plain.contains_key(&rank) {
                    ladder.insert(&mut nodes, rank, value);
                    plain.insert(rank, value);
                } else if !insert && plain.remove(&rank).is_some() {
                    ladder.remove(&mut nodes, rank);
                }
                prop_assert_eq!(ladder.get(&nodes, rank), plain.get(&rank).copied());
                prop_assert_eq!(ladder.first(&nodes), plain.values().next().copied());
                for (&at, _) in plain.range(rank..).take(3) {
                    let next = plain.range(at..).nth(1).map(|(_, &value)| value);
                    prop_assert_eq!(ladder.next(&nodes, at), next);
                }
                prop_assert_eq!(ladder.check(&nodes), nodes.live());
                nodes.check();
            }
        }
    }
}
