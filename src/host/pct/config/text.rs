//! Descriptions: how Proxmox writes text into `#` lines.
//!
//! Apart because two sides need it, the file and the command line. Not here: the mark that a description may end with.

/// One line of a description as it stands behind `#`: `%`, `:` and everything that is no printable ASCII as `%XX`.
pub fn encode(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    for byte in line.bytes() {
        match byte {
            b'%' | b':' | 0..0x20 | 0x7f.. => text.extend(['%', digit(byte >> 4), digit(byte & 15)]),
            plain => text.push(char::from(plain)),
        }
    }
    text
}

/// The other way; what is no `%XX` stands for itself. `None` if the bytes are no UTF-8.
pub fn decode(text: &str) -> Option<String> {
    let mut rest = text.as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((&first, tail)) = rest.split_first() {
        let code = (first == b'%').then(|| tail.get(..2)).flatten().and_then(hexadecimal);
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).ok()
}

fn digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16).unwrap_or('0').to_ascii_uppercase()
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_reads_as_pct_wrote_it() {
        for (line, written) in [("line one", "line one"), ("line: two #x%", "line%3A two #x%25"), ("üml", "%C3%BCml")] {
            assert_eq!(encode(line), written);
            assert_eq!(decode(written).as_deref(), Some(line));
        }
        assert_eq!(decode("100% %zz %4").as_deref(), Some("100% %zz %4"));
        assert_eq!(decode("%ff"), None);
    }

    proptest! {
        #[test]
        fn every_line_comes_back(line in "\\PC{0,40}[\t\r]?") {
            prop_assert_eq!(decode(&encode(&line)), Some(line));
        }
    }
}
