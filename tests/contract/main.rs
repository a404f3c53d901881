//! The contract of `trait Host`, as one set of cases that every host has to keep: simulator, plain LXC, Proxmox VE (which
//! the `pct` for tests stands in for).
//!
//! Each case is a fact that the engine rests on, and knows a host only through the trait and through a [`site::Site`], which
//! says how one meddles with it from outside and what is to be seen there. Not here: what one host alone does (`lxc_host`,
//! `sim`), and what follows from an answer.
//!
//! Real containers need root, LXC and a static busybox; without them their cases say `skipped: ...` and pass. Container numbers
//! from 902000 on.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it expects; everything else fails it")]
#![allow(clippy::print_stderr, reason = "a test that skips says so, and steps say what they cost")]

#[path = "../fleets/archive.rs"]
mod archive;
#[path = "../fleets/mod.rs"]
mod fleets;
#[path = "../fleets/hands.rs"]
mod hands;
#[path = "../fleets/learned.rs"]
mod learned;
#[path = "../lxc_host/world.rs"]
mod lxc_world;
#[path = "../fleets/recorded.rs"]
mod recorded;
#[path = "../fleets/tree.rs"]
mod tree;

mod clones;
mod inside;
mod life;
mod looks;
mod machine;
mod marks;
mod on_lxc;
mod on_pct;
mod on_sim;
mod rig;
mod site;
mod volumes;

/// One test for each case on each host.
macro_rules! cases {
    ($($topic:ident: $($case:ident)*;)*) => {
        mod sim {
            $($(#[test] fn $case() { crate::rig::run(crate::on_sim::site, crate::$topic::$case); })*)*
        }
        mod lxc {
            $($(#[test] fn $case() { crate::rig::run(crate::on_lxc::site, crate::$topic::$case); })*)*
        }
        mod pct {
            $($(#[test] fn $case() { crate::rig::run(crate::on_pct::site, crate::$topic::$case); })*)*
        }
    };
}

cases! {
    looks:
        an_observation_proves_whose_host_it_is_or_is_refused
        an_observation_says_what_is_there_and_nothing_of_what_is_not
        a_lock_is_given_once_and_comes_back_when_dropped
        a_lock_that_others_hold_past_the_deadline_is_waited_for;
    life:
        every_step_carried_out_twice_and_then_probed_is_done
        a_step_that_was_not_carried_out_is_absent_and_asking_changes_nothing
        another_map_than_the_recorded_one_is_drift_and_nothing_stays_up
        what_rests_on_an_init_is_lost_with_it
        autostart_is_off_until_it_is_set
        destroy_leaves_nothing_but_the_shared_directories;
    marks:
        a_step_on_what_is_not_there_finds_it_gone
        a_step_on_what_is_not_ours_is_refused_and_changes_nothing
        a_stranger_on_the_id_is_foreign_to_create_and_safe_from_destroy
        a_missing_mark_is_written_again_only_if_a_person_asked;
    clones:
        a_clone_brings_its_files_and_none_of_marks_mounts_and_autostart
        a_running_source_is_not_cloned
        a_source_that_can_be_copied_while_it_runs_goes_on_running;
    volumes:
        a_directory_is_given_to_whom_the_map_says
        an_id_outside_the_map_is_refused_and_never_guessed
        a_filled_directory_of_another_is_taken_only_if_the_manifest_says_so
        a_start_waits_for_a_directory_that_is_another_one
        what_others_started_without_its_directories_is_started_again
        what_others_started_with_its_directories_is_taken_over;
    inside:
        a_scripts_exit_status_and_output_are_exact
        a_scripts_environment_is_the_manifests_and_nothing_else
        a_result_that_was_left_is_what_a_probe_says
        a_deadline_ends_the_script_itself
        readiness_is_asked_until_the_answer_is_yes
        health_is_asked_as_often_as_the_manifest_says
        a_secret_that_is_missing_is_waited_for_by_name
        traces_tell_which_scripts_have_run;
}
