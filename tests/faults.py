"""The faults that kerasref answers for, each with the tests that show it: docs/reliability.md has what is promised.

`python tests/faults.py` prints the table; tests/test_faults.py fails when a row has no test or a test is not there.
"""

FAULTS: dict[int, tuple[str, tuple[str, ...]]] = {
    1: (
        "kill -9 at any step",
        (
            "tests/crash/test_crash.py::test_a_killed_training_resumes_to_the_same_bits",
            "tests/training/test_training.py::test_what_callbacks_know_survives_a_stop",
            "tests/training/test_transfer.py::test_stopped_and_resumed_is_bit_for_bit_the_same",
        ),
    ),
    2: (
        "kill -9 inside a save",
        ("tests/crash/test_crash.py::test_a_killed_training_resumes_to_the_same_bits",),
    ),
    3: (
        "SIGTERM, SIGINT",
        (
            "tests/training/test_training.py::test_stopped_and_resumed_is_bit_for_bit_the_same",
            "tests/training/test_training.py::test_a_second_signal_stops_at_once",
            "tests/scripts/test_scripts.py::test_control_c_saves_and_says_how_to_go_on",
        ),
    ),
    4: (
        "disk full, or broken",
        (
            "tests/training/test_disk_faults.py::test_whichever_write_of_a_save_fails_a_whole_checkpoint_is_there",
            "tests/training/test_disk_faults.py::test_a_file_that_cannot_be_written_is_as_it_was",
        ),
    ),
    5: (
        "checkpoint truncated, zeroed, a bit flipped",
        (
            "tests/training/test_disk_faults.py::test_a_hundred_flipped_bits_are_found",
            "tests/training/test_disk_faults.py::test_cut_anywhere_it_is_found",
            "tests/training/test_checkpoints.py::test_a_damaged_one_is_named_and_the_one_before_is_used",
            "tests/training/test_checkpoints.py::test_none_left_is_an_error_and_none_ever_is_not",
            "tests/fuzz/test_fuzz.py::test_checkpoint",
        ),
    ),
    6: (
        "resume with another model, batch size, seed or data set",
        (
            "tests/training/test_training.py::test_a_resume_with_other_settings_names_both_values",
            "tests/training/test_training.py::test_a_resume_with_other_data_under_the_same_name_is_found",
        ),
    ),
    7: (
        "resume a finished run, or with fewer epochs",
        ("tests/training/test_training.py::test_a_resume_of_a_complete_run_changes_no_file",),
    ),
    8: (
        "loss becomes NaN or infinite",
        (
            "tests/training/test_training.py::"
            "test_a_loss_that_is_not_finite_ends_the_run_and_names_the_last_good_checkpoint",
            "tests/training/test_training.py::test_weights_that_are_not_finite_are_never_saved",
        ),
    ),
    9: (
        "two processes, one run directory",
        ("tests/training/test_training.py::test_one_process_at_a_time_and_a_dead_ones_lock_is_taken_over",),
    ),
    10: (
        "a sweep killed inside a run",
        (
            "tests/experiments/test_sweep_trainings.py::test_twelve_runs_killed_three_times_are_twelve_rows",
            "tests/experiments/test_sweep.py::test_a_killed_process_leaves_its_setting_to_the_next",
        ),
    ),
    11: (
        "a results file with a torn last line",
        (
            "tests/experiments/test_results_table.py::test_cut_at_any_byte_every_whole_row_is_kept_and_work_goes_on",
            "tests/fuzz/test_fuzz.py::test_results_file",
        ),
    ),
    12: (
        "four writers, 200 rows each",
        ("tests/experiments/test_results_table.py::test_four_processes_of_200_rows_each_make_800_rows",),
    ),
    13: (
        "IDX: truncated, bad CRC, wrong magic, wrong count, trailing bytes, a gzip bomb",
        (
            "tests/hostile/test_hostile.py::test_each_is_refused_with_its_name",
            "tests/data/test_sources.py::test_a_broken_idx_file_is_named_with_what_was_found",
            "tests/fuzz/test_fuzz.py::test_idx",
        ),
    ),
    14: (
        "label outside the classes, counts that differ, empty set, a class with no image",
        (
            "tests/hostile/test_hostile.py::test_each_is_refused_with_its_name",
            "tests/data/test_sources.py::test_a_folder_that_is_no_data_set",
        ),
    ),
    15: (
        "preparing a data set is killed",
        ("tests/data/test_sources.py::test_a_preparation_that_was_killed_is_never_used",),
    ),
    16: (
        "an archive with .., absolute paths, links, devices",
        (
            "tests/hostile/test_hostile.py::test_each_is_refused_with_its_name",
            "tests/data/test_sources.py::test_a_hostile_archive_is_refused_by_the_members_name",
        ),
    ),
    17: (
        "hostile .keras, .h5 and recipe.json",
        (
            "tests/hostile/test_hostile.py::test_each_is_refused_with_its_name",
            "tests/hostile/test_hostile.py::test_the_attacks_are_real",
            "tests/hostile/test_hostile.py::test_without_trust_the_message_says_what_it_means",
            "tests/fuzz/test_fuzz.py::test_recipe_file",
        ),
    ),
    18: (
        "hostile .pt, .pth (pickle)",
        (
            "tests/hostile/test_hostile.py::test_each_is_refused_with_its_name",
            "tests/pytorch/test_files.py::test_hostile_pickle_is_refused_and_runs_nothing",
            "tests/pytorch/test_files.py::test_canary_sings_for_a_careless_reader",
        ),
    ),
    19: (
        "not an image, empty, truncated, a FIFO, 100 Mpx, 400 Mpx",
        (
            "tests/scripts/test_scripts.py::test_the_other_files_go_on_after_one_that_is_no_picture",
            "tests/data/test_pictures.py::test_what_is_no_picture_is_refused",
            "tests/fuzz/test_fuzz.py::test_picture",
        ),
    ),
    20: (
        "CMYK, 16-bit, palette, alpha, animated, 1x1, the eight EXIF orientations",
        (
            "tests/data/test_pictures.py::test_any_mode_becomes_rgb_or_stays_grey",
            "tests/data/test_pictures.py::test_any_content_becomes_eight_bits",
            "tests/data/test_pictures.py::test_the_eight_orientations_are_one_picture",
            "tests/data/test_pictures.py::test_one_pixel_is_a_photograph_but_no_digit",
        ),
    ),
    21: (
        "the web page: foreign Host or origin, huge body, traversal, not an image, a slow image, markup in names",
        (
            "tests/scripts/test_demo.py::test_the_drawing_is_read_by_the_rules_for_images_and_removed",
            "tests/scripts/test_demo.py::test_an_image_that_takes_too_long_is_given_up",
            "tests/scripts/test_demo.py::test_what_the_page_refuses",
            "tests/scripts/test_demo.py::test_draw_a_one_and_a_zero_and_upload_a_picture",
            "tests/scripts/test_demo.py::test_it_listens_on_loopback_only",
        ),
    ),
    22: (
        "an export interrupted, or its target exists",
        (
            "tests/export/test_kill.py::test_killed_while_it_writes_and_while_it_verifies",
            "tests/export/test_kill.py::test_killed_at_each_rename",
            "tests/export/test_kill.py::test_the_next_export_clears_up",
            "tests/export/test_export.py::test_what_is_there_is_replaced_only_when_asked",
        ),
    ),
    23: (
        "a password in a database URL, and whatever is written of it",
        ("tests/experiments/test_postgresql.py::test_a_password_is_in_no_file_and_no_line",),
    ),
    24: (
        "image folders: splits of other names, nested or ambiguous folders, accents stored in two ways",
        (
            "tests/data/test_layout.py::test_splits_are_known_by_their_names",
            "tests/data/test_layout.py::test_folders_that_could_be_misread_are_refused",
            "tests/data/test_layout.py::test_images_in_folders_of_a_class_are_read_once",
            "tests/data/test_layout.py::test_a_class_may_be_called_train",
            "tests/data/test_layout.py::test_accents_composed_and_apart_are_one_name",
        ),
    ),
    25: (
        "a damaged image in a folder, streamed or not; a folder that moved or changed",
        (
            "tests/data/test_layout.py::test_all_files_left_out_are_known",
            "tests/data/test_layout.py::test_a_large_folder_is_checked_once",
            "tests/data/test_layout.py::test_a_folder_that_moved_has_the_same_content_and_a_changed_one_has_not",
        ),
    ),
    26: (
        "data taken for other data: a folder with a dataset's name, another IDX set as Fashion-MNIST",
        (
            "tests/data/test_layout.py::test_a_datasets_name_is_never_a_folders",
            "tests/data/test_foreign_files.py::test_another_set_is_not_taken_for_fashion_mnist",
            "tests/data/test_foreign_files.py::test_an_idx_set_of_ones_own",
        ),
    ),
    27: (
        "archives: names in GBK, backslashes, bzip2 and xz, 1,900 folders deep, 200,000 members",
        (
            "tests/data/test_foreign_files.py::test_names_in_a_zip_of_another_system",
            "tests/data/test_foreign_files.py::test_every_archive_is_unpacked_with_either_separator",
            "tests/data/test_foreign_files.py::test_an_archive_too_deep_or_of_too_many_members_is_refused_before_it_is_unpacked",
        ),
    ),
    28: (
        "a JPEG of hundreds of scans; formats that training does not read",
        (
            "tests/data/test_pictures.py::test_a_jpeg_of_too_many_scans_is_refused_before_it_is_decoded",
            "tests/data/test_pictures.py::test_a_format_that_training_does_not_read_is_named",
            "tests/data/test_pictures.py::test_training_reads_the_photo_formats",
        ),
    ),
    29: (
        "a description of a prepared set that imports a module",
        ("tests/data/test_foreign_files.py::test_features_that_would_import_a_module_are_refused",),
    ),
    40: (
        "weights that fit and compute something else: activation, pooling, shortcut, NaN, averaged weights, names",
        (
            "tests/pytorch/test_published_weights.py::test_lenets_have_their_authors_accuracy",
            "tests/pytorch/test_published_weights.py::test_resnet20_has_its_authors_accuracy",
            "tests/pytorch/test_published_weights.py::test_what_no_tensor_shows_is_asked_for_where_the_names_are_foreign",
            "tests/pytorch/test_published_weights.py::test_weights_that_are_no_numbers_are_refused_both_ways",
            "tests/pytorch/test_files.py::test_averaged_weights_beside_the_others_are_mentioned_and_can_be_read",
        ),
    ),
    41: (
        "pairs that differ and agree in every number; a reason that is not the one",
        (
            "tests/pytorch/test_pair_differences.py::test_the_forward_pass_names_the_setting_that_differs",
            "tests/pytorch/test_pair_differences.py::test_the_steps_name_the_setting_that_only_training_shows",
            "tests/pytorch/test_pairs.py::test_what_cannot_be_compared_is_said",
            "tests/pytorch/test_verdicts.py::test_whole_trainings_are_judged_where_a_test_can",
        ),
    ),
    50: (
        "exports, contracts and runs that are damaged",
        (
            "tests/export/test_damaged.py::test_a_damaged_contract",
            "tests/export/test_damaged.py::test_a_damaged_export",
            "tests/export/test_damaged.py::test_a_damaged_run",
        ),
    ),
    51: (
        "a SavedModel, ONNX or LiteRT file of a stranger",
        (
            "tests/export/test_strangers.py::test_an_export_needs_trust_unless_verification_json_knows_its_checksum",
            "tests/export/test_strangers.py::test_a_saved_model_that_writes_a_file_does_nothing_without_trust",
        ),
    ),
    52: (
        "control characters and markup in names: terminal, labels.txt, model_card.md",
        (
            "tests/test_text.py::test_no_terminal_obeys_a_name",
            "tests/export/test_strangers.py::test_names_in_labels_txt_and_in_the_card",
            "tests/export/test_strangers.py::test_names_on_a_terminal",
        ),
    ),
    53: (
        "one format of an export fails, int8 loses classes",
        (
            "tests/export/test_export.py::test_each_format_stands_for_itself",
            "tests/export/test_export.py::test_smaller_numbers_keep_the_accuracy",
            "tests/export/test_sources.py::test_equal_accuracy_is_not_enough",
        ),
    ),
    54: (
        "the learning rate within a call, in a second fit, with initial_epoch, next to ReduceLROnPlateau",
        (
            "tests/training/test_schedules.py::test_the_rate_is_right_at_every_step",
            "tests/training/test_schedules.py::test_a_cosine_ends_near_0_within_one_epoch_and_initial_epoch_counts",
            "tests/training/test_schedules.py::test_reduce_on_plateau_scales_the_rest_of_the_schedule",
            "tests/training/test_schedules.py::test_a_warm_up_is_pytorchs_linear_lr",
        ),
    ),
    55: (
        "a finished run is extended, and stopped or the disk is full; fewer epochs than were trained",
        (
            "tests/training/test_extension.py::test_an_extended_run_keeps_its_results_until_the_new_ones_are_there",
            "tests/training/test_extension.py::test_a_disk_that_is_full_at_the_end_of_an_extension_leaves_what_was_there",
            "tests/training/test_extension.py::test_extending_under_a_cosine_reports_the_jump_of_the_learning_rate",
            "tests/training/test_extension.py::test_fewer_epochs_than_were_begun_are_refused_and_leave_the_run_as_it_is",
        ),
    ),
    56: (
        "an image folder that moved, another working directory, images that changed",
        (
            "tests/training/test_moved_folder.py::test_another_working_directory",
            "tests/training/test_moved_folder.py::test_a_folder_that_moved_and_one_that_is_another",
            "tests/training/test_moved_folder.py::test_every_file_that_was_left_out_is_listed",
        ),
    ),
    57: (
        "a secret in a recorded command",
        ("tests/test_provenance.py::test_secrets_are_masked_and_nothing_else",),
    ),
    58: (
        "no flock; a resume under other versions; a FIFO as a checkpoint",
        (
            "tests/training/test_training.py::test_a_file_system_without_locks_is_said",
            "tests/training/test_training.py::test_a_resume_under_other_versions_is_said_and_both_are_on_record",
            "tests/training/test_checkpoints.py::test_a_damaged_one_is_named_and_the_one_before_is_used",
        ),
    ),
    59: (
        "a callback that does not say what it remembers; a run directory of an earlier version",
        (
            "tests/training/test_training.py::test_a_callback_that_does_not_say_what_it_remembers_is_refused_at_a_resume",
            "tests/training/test_old_runs.py::test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped",
            "tests/training/test_old_runs.py::test_a_finished_run_is_evaluated_and_exported",
        ),
    ),
    60: (
        "numbers and Chinese names cut or missing in plots; the plot's style on another function",
        (
            "tests/evaluation/test_figures.py::test_numbers_in_an_svg_are_whole_and_its_coordinates_short",
            "tests/evaluation/test_figures.py::test_chinese_names_are_drawn_in_a_font_that_has_them",
            "tests/evaluation/test_figures.py::test_every_function_that_plots_has_the_style",
        ),
    ),
    61: (
        "a confidence threshold from a handful of validation images",
        (
            "tests/evaluation/test_metrics.py::test_eight_examples_give_no_threshold_and_299_without_a_mistake_are_needed",
            "tests/evaluation/test_metrics.py::test_thresholds_of_old_files_are_read_but_not_those_of_too_few_examples",
        ),
    ),
    62: (
        "thousands of classes",
        ("tests/evaluation/test_report.py::test_ten_thousand_classes",),
    ),
    63: (
        "a weight file that refers to one text thousands of times",
        ("tests/models/test_weight_files.py::test_a_text_that_is_referred_to_many_times_is_not_read",),
    ),
    70: (
        "control characters in names; a terminal of Latin-1",
        (
            "tests/scripts/test_command.py::test_a_name_that_commands_the_terminal_does_not_reach_it",
            "tests/scripts/test_command.py::test_json_is_of_ascii_where_the_terminal_needs_it",
            "tests/scripts/test_command.py::test_a_latin_1_terminal_gets_escapes_in_place_of_an_exception",
        ),
    ),
    71: (
        "two runs started in the same second; a run directory that a shell would split",
        (
            "tests/api/test_api.py::test_runs_of_one_second_get_directories_of_their_own",
            "tests/scripts/test_scripts.py::test_run_and_exported_model_predict_alike_and_right",
        ),
    ),
    72: (
        "an extra that is missing; a Python without TensorFlow",
        (
            "tests/api/test_api.py::test_a_missing_extra_is_one_line_that_says_what_to_install",
            "tests/scripts/test_command.py::test_make_refuses_a_python_that_tensorflow_has_no_wheel_for",
        ),
    ),
}

if __name__ == "__main__":
    for row, (fault, tests) in FAULTS.items():
        print(f"{row}. {fault}", *tests, sep="\n     ")
