//! Honest bodies in every encoding, and those that are not.

use super::*;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn raw(body: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn decode(
    encoding: Encoding,
    bytes: &[u8],
    piece: usize,
    limit: usize,
) -> Result<Vec<u8>, BodyProblem> {
    let mut inflater = Inflater::new(encoding, limit, 200);
    for chunk in bytes.chunks(piece) {
        inflater.write(chunk)?;
    }
    inflater.finish()
}

/// Encodings by the names that servers write.
#[test]
fn encodings_have_names() {
    for (name, encoding) in [
        ("gzip", Some(Encoding::Gzip)),
        ("X-GZip", Some(Encoding::Gzip)),
        (" deflate ", Some(Encoding::Deflate)),
        ("identity", Some(Encoding::Identity)),
        ("", Some(Encoding::Identity)),
        ("br", None),
        ("zstd", None),
        ("gzip, gzip", None),
        ("gzip,deflate", None),
    ] {
        assert_eq!(Encoding::of(name), encoding, "{name}");
    }
}

/// A bomb ends at the limit or at the ratio, whichever is first; the same bytes pass when both are
/// wide enough.
#[test]
fn bombs_end_early() {
    let bomb = gzip(&vec![0; 20 * 1024 * 1024]);
    assert!(bomb.len() < 64 * 1024);
    assert_eq!(
        decode(Encoding::Gzip, &bomb, 1000, 5 << 20),
        Err(BodyProblem::Bomb)
    );
    assert_eq!(
        decode(Encoding::Gzip, &bomb, 1000, 512 << 10),
        Err(BodyProblem::TooLarge)
    );
    let mut wide = Inflater::new(Encoding::Gzip, 32 << 20, 2000);
    wide.write(&bomb).unwrap();
    assert_eq!(wide.finish().unwrap().len(), 20 << 20);
}

/// Encoded bytes count as well, even if they decode to nothing.
#[test]
fn empty_members_have_an_end() {
    let member = gzip(b"");
    let many = member.repeat(1 + 65_536 / member.len());
    assert_eq!(
        decode(Encoding::Gzip, &many, 4096, 64 << 10),
        Err(BodyProblem::TooLarge)
    );
    assert_eq!(
        decode(Encoding::Gzip, &member.repeat(9), 7, 64 << 10),
        Ok(Vec::new())
    );
}

/// What is cut off or broken is said to be so, for every way of cutting.
#[test]
fn damaged_bodies_are_seen() {
    let body = b"a body of some length, of some length, of some length";
    for (encoding, encoded) in [
        (Encoding::Gzip, gzip(body)),
        (Encoding::Deflate, zlib(body)),
        (Encoding::Deflate, raw(body)),
    ] {
        assert_eq!(
            decode(encoding, &encoded, 5, 1000).as_deref(),
            Ok(&body[..])
        );
        for cut in 1..encoded.len() {
            assert!(
                decode(encoding, &encoded[..cut], 3, 1000).is_err(),
                "{encoding:?} {cut}"
            );
        }
    }
    let mut damaged = gzip(body);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x55;
    assert!(decode(Encoding::Gzip, &damaged, 4096, 1000).is_err());
    assert!(decode(Encoding::Gzip, b"plain text", 4096, 1000).is_err());
}

proptest! {
    /// However a body is cut on its way, it arrives.
    #[test]
    fn bodies_arrive(body in prop::collection::vec(any::<u8>(), 1..3000), piece in 1_usize..700) {
        for (encoding, encoded) in [
            (Encoding::Identity, body.clone()),
            (Encoding::Gzip, gzip(&body)),
            (Encoding::Deflate, zlib(&body)),
            (Encoding::Deflate, raw(&body)),
        ] {
            prop_assert_eq!(decode(encoding, &encoded, piece, 5000), Ok(body.clone()));
        }
    }

    /// No bytes make a decoder panic or yield more than its limit.
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), piece in 1_usize..50, damage in 0_usize..60) {
        for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Deflate] {
            if let Ok(body) = decode(encoding, &bytes, piece, 300) {
                prop_assert!(body.len() <= 300);
            }
        }
        let mut encoded = gzip(&bytes);
        let place = damage % encoded.len();
        encoded[place] ^= 1;
        let _ = decode(Encoding::Gzip, &encoded, piece, 300);
    }
}
