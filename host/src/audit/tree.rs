//! The Merkle tree of RFC 6962 over all records, kept by its right edge.
//!
//! Appending and taking the root need only the roots of the complete subtrees at the right edge, one per set bit of the
//! size: at most 64 hashes, whatever the length of the trail. The hashing itself is `tlog_tiles`, so that a verifier of
//! any transparency log reads ours. What this does not do: keep the inner nodes. Proofs need them, and they can be made
//! again from the records at any time.

use tlog_tiles::tlog::{self, Hash, HashReader};

/// A hash of the tree.
pub(super) type Root = [u8; 32];

/// The right edge of the tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Frontier {
    size: u64,
    /// The complete subtree of 2^level leaves at the right edge; set exactly where `size` has a bit.
    levels: Vec<Hash>,
}

impl HashReader for Frontier {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog::Error> {
        let hash = |index: &u64| {
            let (level, _) = tlog::split_stored_hash_index(*index);
            self.levels.get(usize::from(level)).copied().ok_or(tlog::Error::IndexesNotInTree)
        };
        indexes.iter().map(hash).collect()
    }
}

impl Frontier {
    /// How many records the tree has.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Appends the record.
    pub(super) fn push(&mut self, record: &[u8]) -> Result<(), tlog::Error> {
        let hashes = tlog::stored_hashes(self.size, record, self)?;
        let level = hashes.len().saturating_sub(1);
        let top = hashes.last().copied().ok_or(tlog::Error::BadMath)?;
        if self.levels.len() <= level {
            self.levels.resize(level + 1, tlog::EMPTY_HASH);
        }
        *self.levels.get_mut(level).ok_or(tlog::Error::BadMath)? = top;
        self.size += 1;
        Ok(())
    }

    /// The root of the tree as it stands.
    pub(super) fn root(&self) -> Result<Root, tlog::Error> {
        tlog::tree_hash(self.size, self).map(|hash| hash.0)
    }

    /// The edge from left to right, largest subtree first.
    pub(super) fn edge(&self) -> Vec<Root> {
        let set = |level: &usize| self.size >> level & 1 == 1;
        let levels = (0..self.levels.len()).rev().filter(set);
        levels.filter_map(|level| self.levels.get(level).map(|hash| hash.0)).collect()
    }

    /// The tree of `size` records with that edge; none if the edge has not one hash per set bit.
    pub(super) fn from_edge(size: u64, edge: &[Root]) -> Option<Self> {
        if usize::try_from(size.count_ones()).ok()? != edge.len() {
            return None;
        }
        let mut levels = vec![tlog::EMPTY_HASH; usize::try_from(u64::BITS - size.leading_zeros()).ok()?];
        let mut hashes = edge.iter();
        for level in (0..levels.len()).rev().filter(|level| size >> level & 1 == 1) {
            *levels.get_mut(level)? = Hash(*hashes.next()?);
        }
        Some(Self { size, levels })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962 section 2.1, word for word: the definition as an oracle.
    fn by_definition(leaves: &[Vec<u8>]) -> Root {
        match leaves {
            [] => tlog::EMPTY_HASH.0,
            [leaf] => tlog::record_hash(leaf).0,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                let (left, right) = leaves.split_at(split);
                tlog::node_hash(Hash(by_definition(left)), Hash(by_definition(right))).0
            }
        }
    }

    #[test]
    fn every_size_has_the_root_of_the_definition() {
        let leaves: Vec<Vec<u8>> = (0..300_u32).map(|leaf| leaf.to_be_bytes().to_vec()).collect();
        let mut tree = Frontier::default();
        for size in 0..leaves.len() {
            assert_eq!(tree.root().unwrap(), by_definition(&leaves[..size]), "{size}");
            let edge = tree.edge();
            tree = Frontier::from_edge(tree.size(), &edge).unwrap();
            tree.push(&leaves[size]).unwrap();
        }
        assert!(Frontier::from_edge(3, &[[0; 32]]).is_none());
    }
}
