//! Random schemas, values and cuts: decode(encode(x)) == x. Random bytes: events or an error within the stream, no panic.

mod packed_support;

use packed_support::{decode, encode, streams};
use proptest::collection::vec;
use proptest::prelude::*;
use spile_core::Error;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_went_in_comes_out((schemas, records) in streams(), sizes in vec(1..600usize, 1..8)) {
        let mut bytes = Vec::new();
        for (index, values) in &records {
            encode(schemas[*index].id as u8, &schemas[*index], values, &mut bytes);
        }
        let (seen, error) = decode(&schemas, &bytes, &sizes);
        prop_assert_eq!(error, None);
        let expected: Vec<_> = records.iter().map(|(index, values)| (schemas[*index].id, values)).collect();
        let found: Vec<_> = seen.iter().map(|event| (event.id, &event.values)).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn bytes_of_any_kind_give_events_or_an_error(
        (schemas, records) in streams(), noise in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        tail in vec(any::<u8>(), 0..80), sizes in vec(1..100usize, 1..4),
    ) {
        let mut bytes = Vec::new();
        for (index, values) in &records {
            encode(schemas[*index].id as u8, &schemas[*index], values, &mut bytes);
        }
        bytes.extend(tail);
        for (place, byte) in noise {
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
        }
        let (seen, error) = decode(&schemas, &bytes, &sizes);
        prop_assert_eq!((seen, error.clone()), decode(&schemas, &bytes, &[bytes.len() + 1]));
        if let Some(error) = error {
            let is_inside = matches!(error, Error::Stream { offset, .. } if offset as usize <= bytes.len());
            prop_assert!(is_inside, "{:?}", error);
        }
    }

    #[test]
    fn pure_noise_never_panics((schemas, _) in streams(), bytes in vec(any::<u8>(), 0..2000), size in 1..500usize) {
        let _ = decode(&schemas, &bytes, &[size]);
    }
}
