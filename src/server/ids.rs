//! Names of requests: UUIDs of version 7, so that the ledger grows at its end. They must differ and need not be secret,
//! so the system's randomness is asked once and not by every request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::domain::id::RequestId;

/// Gives names. Two processes differ by their seeds.
#[derive(Debug)]
pub(super) struct Ids {
    seeds: [u64; 2],
    next: AtomicU64,
}

impl Ids {
    pub(super) fn new() -> Self {
        // 122 bits of the system's randomness.
        let seed = uuid::Uuid::new_v4().as_u64_pair();
        Self { seeds: [seed.0, seed.1], next: AtomicU64::new(0) }
    }

    /// Another one.
    pub(super) fn next(&self) -> RequestId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let [first, second] = self.seeds.map(|seed| mix(seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15))));
        let mut random = [0; 10];
        random[..8].copy_from_slice(&first.to_be_bytes());
        random[8..].copy_from_slice(&second.to_be_bytes()[..2]);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        RequestId(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().as_u128())
    }
}

/// The finaliser of splitmix64: every bit of the input changes half of the output's.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_differ_and_are_of_version_7() {
        let (one, other) = (Ids::new(), Ids::new());
        let names: HashSet<u128> = (0..10_000).flat_map(|_| [one.next().0, other.next().0]).collect();
        assert_eq!(names.len(), 20_000);
        assert!(names.iter().all(|name| uuid::Uuid::from_u128(*name).get_version_num() == 7));
    }
}
