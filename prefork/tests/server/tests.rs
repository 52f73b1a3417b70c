//! What there is to be tested. The test program is also the script: which of the two it is says
//! its first argument.

use std::process::ExitCode;

use super::{calls, life, processes, program, runner};

pub fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some(program::SCRIPT) => return program::main(),
        Some(program::STRANGER) => return program::stranger(),
        _ => {}
    }
    // What whoever runs the tests has open is not to be found in the processes under test.
    supervise::daemon::close_inherited().expect("close");
    runner::run(&[
        ("alone_the_program_just_runs", calls::alone),
        ("arguments_and_environment_come_as_they_are", calls::as_they_are),
        ("an_environment_may_hold_doubles", calls::doubles),
        ("every_end_of_a_program_is_told_as_it_was", calls::every_end),
        ("a_program_may_become_another_one", calls::exec),
        ("a_program_may_close_what_it_likes", calls::closes_all),
        ("two_thousand_times_seven", calls::two_thousand),
        ("two_thousand_times_seven_through_ours", calls::two_thousand_through_ours),
        ("the_example_knows_its_words", calls::example),
        ("processes_are_as_drawn", processes::as_drawn),
        ("processes_are_as_drawn_with_our_client", processes::as_drawn_with_our_client),
        ("nothing_of_the_first_caller_is_kept", processes::nothing_kept),
        ("what_a_program_has_opened_it_keeps", processes::own_kept),
        ("a_hang_up_ends_the_group", life::hang_up),
        ("a_hang_up_ends_those_who_do_not_listen", life::hang_up_of_the_deaf),
        ("what_is_left_running_hears_of_the_end_only_after_it", life::leftovers),
        ("only_so_many_at_once", life::limit),
        ("an_idle_server_ends", life::idle),
        ("a_server_whose_socket_is_gone_ends", life::socket_gone),
        ("a_changed_program_is_started_anew", life::reload),
        ("nonsense_and_half_a_request_harm_nobody", life::nonsense),
        ("strangers_are_turned_away", life::strangers),
        ("threads_are_refused", life::threads),
    ])
}
