//! Property strings: any text is answered, what parses is written as something that reads the same, and an edit changes its own
//! property alone.

use phoenix::host::pct::config::property::{DEVICE, FEATURES, MOUNT, NET, PropertyString, ROOTFS, STARTUP, Shape};
use phoenix::host::pct::config::values::{Device, MountPoint, Net, RootFs, Size, Startup};

const SHAPES: [&Shape; 6] = [&ROOTFS, &MOUNT, &NET, &DEVICE, &FEATURES, &STARTUP];

/// The first line as a property string, the second as a property's name and the third as its value.
pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines();
    let mut line = || lines.next().unwrap_or_default();
    let (given, name, value) = (line(), line(), line());
    for shape in SHAPES {
        let Ok(found) = PropertyString::parse(given, shape) else { continue };
        assert_eq!(PropertyString::parse(&found.to_string(), shape).as_ref(), Ok(&found));
        read(&found);
        let mut changed = found.clone();
        if !name.is_empty() && !name.contains([',', '=']) && changed.set(name, value).is_ok() {
            assert_eq!(PropertyString::parse(&changed.to_string(), shape).as_ref(), Ok(&changed), "{changed}");
            assert_eq!(changed.get(name), Some(value));
            assert!(found.iter().filter(|(other, _)| *other != name).all(|(other, value)| changed.get(other) == Some(value)));
        }
    }
    if let Some(size) = Size::parse(given) {
        assert_eq!(Size::parse(&size.to_string()), Some(size));
    }
}

/// What can be read as a value is written as a value that reads the same.
fn read(found: &PropertyString) {
    let _ = (RootFs::read(found), Startup::read(found), MountPoint::read(found));
    if let Ok(net) = Net::read(found) {
        let mut written = found.clone();
        if net.write(&mut written).is_ok() {
            assert_eq!(Net::read(&written), Ok(net));
        }
    }
    if let Ok(device) = Device::read(found) {
        let mut written = found.clone();
        if device.write(&mut written).is_ok() {
            assert_eq!(Device::read(&written), Ok(device));
        }
    }
}
