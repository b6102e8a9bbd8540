//! Damaged delimited files in great numbers; the fuzzer (`just fuzz`) is a package in the same folder.

#[expect(unreachable_pub, reason = "the fuzzer shares it")]
mod check;
mod smoke;
