//! Every site file of the recorded nights loads.

use std::path::Path;
use vigil_config::load_site;

#[test]
fn the_site_files_of_the_recorded_nights_load() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/vectors");
    for (night, starts) in [("sleeper", 5), ("dead_phone", 3), ("tours", 4)] {
        let site = load_site(&vectors.join(night).join("site.toml")).unwrap();
        assert_eq!(site.id.as_str(), "plant-7", "{night}");
        assert_eq!((site.checkpoints.len(), site.tours[0].start.len()), (6, starts), "{night}");
    }
}
