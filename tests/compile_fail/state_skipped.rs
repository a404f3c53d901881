//! From each state one goes to the next alone, with its evidence.

use phoenix::machine::{
    AnyContainer, Armed, Configuration, Configured, Container, Declared, Defined, Features, Finalization, Finalized, Running, Stage, Up,
    Volumed,
};

fn over_defined(container: Container<Declared>, configuration: Configuration) {
    let _ = container.configure(configuration);
}

fn over_configured(container: Container<Defined>, finalization: Finalization) {
    let _ = container.finalize(finalization);
}

fn over_volumed(container: Container<Finalized>, up: Up) {
    let _ = container.run(up);
}

fn over_running(container: Container<Volumed>, features: Features) {
    let _ = container.apply_features(features);
}

fn over_featured(container: Container<Running>, armed: Armed) {
    let _ = container.finish(armed);
}

fn with_other_evidence(container: Container<Configured>, configuration: Configuration) {
    let _ = container.finalize(configuration);
}

fn by_calling_it_so(container: Container<Configured>) -> AnyContainer {
    AnyContainer::Volumed(container)
}

fn by_falling_back(container: Container<Finalized>) -> Container<Volumed> {
    container.fall_back()
}

struct Mine;

impl Stage for Mine {
    const STATE: phoenix::ids::State = phoenix::ids::State::Done;
}

fn main() {}
