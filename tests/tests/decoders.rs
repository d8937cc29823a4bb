//! The short run of `fuzz/`: every decoder takes the inputs that the long runs have kept, and as many that are a little off.
//!
//! The inputs are the same in every run. One that is wrong is told as a line for `fuzz/kept`, where it stays when it is mended.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

#[path = "../../fuzz/src/decoders.rs"]
mod decoders;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use decoders::{ALL, Named};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::thread;

/// Inputs for each decoder that nobody has kept. All together take some seconds on two cores; millions are for `fuzz/long`.
const MUTATED: usize = 50_000;
/// The same for the configuration: a file takes a hundred times as long as a message.
const MUTATED_FILES: usize = 5_000;
/// An input grows no further: beyond it a decoder only says that it is too long, and every one has a test of that.
const LONGEST: usize = 4_096;
/// Bytes on which decoders turn: of JSON and TOML, of sentences and frames, of numbers and of UTF-8.
const TURNING: &[u8] = b"\0\x01\x02\x03\n\r \"#$%*+,-./0129:=ATZ[\\]_aez{}\x7f\x80\xc3\xd4\xd5\xff";

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(name)
}

/// The names in a folder of `fuzz`, without their endings.
fn named_in(name: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// The inputs that were kept, one a line.
fn kept(name: &str) -> Vec<Vec<u8>> {
    let path = folder("kept").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| BASE64_STANDARD.decode(line).unwrap()).collect()
}

/// What a person wrote to begin with.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder("seeds").join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// One of them with one to four faults.
fn mutated(rng: &mut StdRng, pool: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = pool.choose(rng).cloned().unwrap_or_default();
    for _ in 0..rng.random_range(1..=4) {
        let at = rng.random_range(0..=bytes.len());
        let end = (at + rng.random_range(0..32)).min(bytes.len());
        match rng.random_range(0..6) {
            0 => drop(bytes.drain(at..end)),
            1 => bytes.insert(at, TURNING.choose(rng).copied().unwrap_or_default()),
            2 if at < bytes.len() => bytes[at] = TURNING.choose(rng).copied().unwrap_or_default(),
            3 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            4 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece.repeat(rng.random_range(1..=8)));
            }
            _ => {
                let other = pool.choose(rng).map_or(&[][..], Vec::as_slice);
                let from = rng.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

/// The first input on which it does not hold what it must.
fn fault((name, decoder): Named) -> Option<String> {
    let pool = [seeds(name), kept(name), vec![vec![]]].concat();
    let count = if name.ends_with("_file") { MUTATED_FILES } else { MUTATED };
    let mut rng = StdRng::seed_from_u64(0);
    let others = (0..count).map(|_| mutated(&mut rng, &pool));
    let mut inputs = pool.iter().cloned().chain(others);
    let wrong = inputs.find(|input| catch_unwind(|| decoder(input)).is_err())?;
    Some(format!("{name}: mend it, and add this line to fuzz/kept/{name}: {}", BASE64_STANDARD.encode(wrong)))
}

#[test]
fn every_decoder_holds_on_what_was_kept_and_on_what_is_a_little_off() {
    let faults: Vec<String> = thread::scope(|scope| {
        let runs: Vec<_> = ALL
            .iter()
            .map(|decoder| {
                let named = thread::Builder::new().name(decoder.0.to_owned());
                named.spawn_scoped(scope, || fault(*decoder)).unwrap()
            })
            .collect();
        runs.into_iter().filter_map(|run| run.join().unwrap()).collect()
    });
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_decoder_is_fuzzed_and_what_that_found_is_kept() {
    let ours: BTreeSet<String> = ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    for place in ["fuzz_targets", "seeds", "kept"] {
        assert_eq!(named_in(place), ours, "fuzz/{place}");
    }
    for (name, _) in ALL {
        assert!(!kept(name).is_empty(), "fuzz/kept/{name} is empty: run fuzz/long, then fuzz/keep");
    }
}
