//! Some thousands of the fuzzer's inputs, on every run of the tests: bytes made of what breaks
//! delimited files, from fixed seeds.
//!
//! The fuzzer itself (`just fuzz`) shares the check and runs as long as it is let.

use rand::{Rng as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;

use crate::fuzz::check;

/// What files are made of, well and badly.
const PIECES: [&[u8]; 22] = [
    b",",
    b",",
    b"\"",
    b"\"\"",
    b"\n",
    b"\r\n",
    b"\r",
    b"#",
    b";",
    b"|",
    b"\t",
    b"a",
    b" ",
    b"a,b\n",
    b"\"a\",\"b\"\n",
    b"\"a\nb\",c\n",
    b"\xff",
    b"\xc3\xa9",
    b"\0",
    b"\xef\xbb\xbf",
    b"a,b,c\r\n",
    b"5\" x",
];

#[test]
fn thousands_of_broken_files() {
    for seed in 0..20_000 {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let mut below = |limit: u32| random.next_u32() % limit;
        let mut bytes = vec![u8::try_from(below(256)).expect("a byte"), 0];
        bytes[1] = u8::try_from(below(40)).expect("a byte");
        for _ in 0..below(30) {
            let piece = usize::try_from(below(22)).expect("small");
            bytes.extend_from_slice(PIECES[piece]);
        }
        let broken = std::panic::catch_unwind(|| check::check(&bytes)).is_err();
        assert!(!broken, "seed {seed} breaks it: {bytes:?}");
    }
}
