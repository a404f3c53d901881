//! LXC's configuration: any text is answered, and what parses is written back as something that reads the same.

use phoenix::host::lxc::Config;

/// The text as a configuration.
pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let config = match Config::parse(&text) {
        Ok(config) => config,
        Err(why) => return assert!(why.to_string().len() < 2000, "{why}"),
    };
    let written = config.to_string();
    let again = Config::parse(&written).unwrap_or_else(|why| panic!("what was written is refused: {why}\n{written}"));
    assert_eq!(again, config, "{written:?}");
    assert_eq!(again.to_string(), written, "written once is written for good");
    assert_eq!(again.seen(), config.seen());
    for (key, _) in config.settings() {
        assert_eq!(again.values(key), config.values(key));
    }
}
