//! Whatever stands in a file: it is read or refused with a reason, and never a panic.

use proptest::prelude::*;
use std::path::Path;
use vigil_config::{parse_agent, parse_noc, parse_site};

const EXAMPLES: [&str; 3] = [
    include_str!("../examples/agent.toml"),
    include_str!("../examples/site.toml"),
    include_str!("../examples/noc.toml"),
];

/// A refusal names its reasons, each with its file.
fn reads_or_says_why(text: &[u8]) {
    let file = Path::new("f.toml");
    let answers = [
        parse_agent(file, text).map(drop),
        parse_site(file, text).map(drop),
        parse_noc(file, text).map(drop),
    ];
    for problems in answers.into_iter().filter_map(Result::err) {
        assert!(!problems.as_slice().is_empty());
        assert!(problems.to_string().lines().all(|line| !line.is_empty()));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes(text in prop::collection::vec(any::<u8>(), 0..400)) {
        reads_or_says_why(&text);
    }

    #[test]
    fn arbitrary_toml_like_text(text in "[\\[\\]a-z_.=\"0-9\\n{},# é-]{0,400}") {
        reads_or_says_why(text.as_bytes());
    }

    #[test]
    fn arbitrary_json_like_text(text in "\\{[\\[\\]a-z_.:,\"0-9\\n{} é-]{0,400}") {
        reads_or_says_why(text.as_bytes());
    }

    #[test]
    fn an_example_with_a_piece_cut_out_and_another_put_in(
        which in 0..3_usize, from in any::<prop::sample::Index>(), length in 0..60_usize, piece in ".{0,20}",
    ) {
        let mut text = EXAMPLES[which].replace("\n#", "\n").into_bytes();
        let from = from.index(text.len());
        text.splice(from..(from + length).min(text.len()), piece.into_bytes());
        reads_or_says_why(&text);
        let mut live = EXAMPLES[which].as_bytes().to_vec();
        let from = from.min(live.len());
        live.splice(from..(from + length).min(live.len()), []);
        reads_or_says_why(&live);
    }
}
