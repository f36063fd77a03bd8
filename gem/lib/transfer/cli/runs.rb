# frozen_string_literal: true

module Transfer
  # Trainings that are kept.
  class CLI
    # And the ids that each takes.
    RUN_ACTIONS = { "list" => "no run", "show" => "one run", "remove" => "one run or more", "prune" => "no run" }.freeze
    private_constant :RUN_ACTIONS

    desc "runs [ACTION] [RUN...]", "List, show and remove the trainings that are kept"
    long_desc <<~TEXT, wrap: false
      Each training has a directory in ~/.local/share/transfer/runs, or TRANSFER_HOME:
      with its checkpoint while it is unfinished, and then with its model.

        transfer runs                            list them
        transfer runs show 20260314-150926-535897
        transfer runs remove 20260314-150926-535897
        transfer runs prune                      keep to the limits of upkeep
        transfer runs prune --older-than 30d     remove those not used for 30 days
        transfer runs prune --max-size 2GB       remove those not used for the longest
                                                 time: finished ones, then interrupted
        transfer runs prune --max-size 2GB --dry-run

      A running training is never removed. Upkeep, at the start of each training,
      removes finished runs after 30 days without use if their model was saved
      elsewhere, and other runs after 90 days (TRANSFER_RUNS_KEEP). If all runs take
      more than 5 GB (TRANSFER_RUNS_LIMIT), it removes finished ones that were not
      used for a week.
    TEXT
    option :max_size, banner: "SIZE", desc: "prune: how much may stay, such as 500MB"
    option :older_than, banner: "TIME", desc: "prune: unused for so long, such as 12h or 30d"
    option :dry_run, type: :boolean, desc: "prune: list them, remove nothing"
    json_option
    # Looks after runs.
    def runs(action = "list", *ids)
      raise Thor::Error, Suggestion.unknown("action", action, RUN_ACTIONS.keys) unless RUN_ACTIONS.key?(action)

      check_run_words(action, ids)
      send(:"#{action}_runs", *ids)
    end

    private

    def check_run_words(action, ids)
      if action != "prune" && options.values_at(:max_size, :older_than, :dry_run).any?
        raise Thor::Error, "--max-size, --older-than and --dry-run belong to prune"
      end

      fits = { "show" => ids.one?, "remove" => ids.any? }.fetch(action) { ids.empty? }
      raise Thor::Error, "#{action} takes #{RUN_ACTIONS.fetch(action)}, got #{ids.size}" unless fits
    end

    def list_runs
      runs = Transfer.runs
      answer(runs.map { |run| described(run) }) do
        puts runs.empty? ? "No training is kept" : Table.render([run_titles, *runs.map { |run| run_row(run) }])
        puts "Another user could have written to a run; transfer doctor prints the fix" if runs.any?(&:untrusted?)
      end
    end

    def show_runs(id)
      run = find_run(id)
      answer(described(run)) do
        puts Table.render([["run", run.id], ["status", "#{run.status}#{', saved elsewhere' if run.saved?}"],
                           ["began", run.created_at&.localtime&.strftime("%F %R")],
                           ["last used", run.used_at.localtime.strftime("%F %R")], ["size", Amounts.size(run.size)],
                           ["backbone", run.backbone], ["data", data_of(run)], ["done", done_of(run)],
                           ["directory", run.path.to_s]])
        puts "Next: transfer resume #{run}" if run.resumable?
      end
    end

    def remove_runs(*ids)
      removed = ids.map { |id| find_run(id) }.each(&:remove)
      answer(removed.map { |run| described(run) }) { say_removed("Removed", removed) }
    end

    def prune_runs
      removed = Run.prune(max_size: amount(:max_size, :bytes, "a size such as 500MB"),
                          older_than: amount(:older_than, :seconds, "a time such as 30d"),
                          dry_run: options[:dry_run] || false)
      answer(removed.map { |run| described(run) }) do
        say_removed(options[:dry_run] ? "Would remove" : "Removed", removed)
      end
    end

    def find_run(id)
      runs = Transfer.runs
      near = Suggestion.nearest(id, runs.map(&:id))
      runs.find { |run| run.id == id } ||
        raise(ConfigurationError, %(there is no run "#{id}"#{%(, did you mean "#{near}"?) if near}))
    end

    def say_removed(what, runs)
      runs.each { |run| puts "#{what} #{run}, #{run.status}, #{Amounts.size(run.size)}" }
      puts "#{what} #{runs.size} #{runs.one? ? 'run' : 'runs'}, #{Amounts.size(runs.sum(&:size))}"
    end

    def run_titles = %w[run began status size backbone data done]

    def run_row(run)
      [run.id, run.created_at&.localtime&.strftime("%F %R"), run.status, Amounts.size(run.size), run.backbone,
       data_of(run), done_of(run)]
    end

    def data_of(run) = run.data || ("rows" if run.backbone)

    def done_of(run)
      return unless run.resumable?

      run.step ? "epoch #{run.epoch} of #{run.epochs}, #{run.step.to_s.tr('_', '-')}" : "no epoch yet"
    end

    # For programs.
    def described(run)
      { id: run.id, path: run.path.to_s, status: run.status, resumable: run.resumable?, saved: run.saved?,
        created_at: run.created_at&.iso8601, used_at: run.used_at.iso8601, bytes: run.size, backbone: run.backbone,
        data: run.data, step: run.step, epoch: run.epoch, epochs: run.epochs, recipe: run.recipe }
    end
  end
end
