//! What happened and where everything stands, as data; then as text for people and as JSON for programs.
//!
//! Apart from the command line so that a library user gets the same answers. The JSON is stable: it is only ever extended.
//! Not here: arguments, terminals, exit codes (`cli`), and deciding anything.

pub mod clock;
mod doctor;
mod event;
mod explain;
mod history;
pub mod plain;
mod plan;
mod rehearsal;
mod results;
mod status;
mod status_text;
mod steps;
mod table;
mod ways;

pub use doctor::{DoctorReport, FindingReport};
pub use event::{Event, event, fact_text, standing_text};
pub use explain::{Evidence, Explanation, LiveSight, explain, explain_unreadable, sight};
pub use history::{Timeline, TimelineEntry};
pub use plan::{ContainerPlan, FleetPlan, PlannedStep, plan};
pub use rehearsal::{CutReport, DivergenceReport, RehearsalReport, ReplayReport, SchedulesReport};
pub use results::{RunSummary, summary};
pub use status::{
    ContainerReport, ErrorReport, FleetReport, QuarantineReport, RunReport, SCHEMA, StatusReport, WaitReport, WriterReport, status,
};
pub use steps::StepReport;
pub use table::{Cell, Column, Table};
pub use ways::{Way, meaning, next_commands, ways};
