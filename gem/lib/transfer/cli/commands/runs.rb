# frozen_string_literal: true

module Transfer
  module CLI
    # Kept trainings.
    class Runs < Command
      desc "list", "List the trainings"
      long_desc <<~TEXT
        Prints status, size, backbone, data and progress of each. The status is running,
        interrupted, finished, damaged, or untrusted: writable by other users.

          transfer runs list
          transfer runs list --resumable
      TEXT
      option :resumable, type: :boolean, desc: "Only interrupted trainings"
      shared_options :json
      def list
        runs = options[:resumable] ? Transfer.resumable : Transfer.runs
        output(runs.map { |run| plain(run) }) do
          next "No trainings" if runs.empty?

          titles = %w[run started status size backbone data done]
          [Table.render([titles, *runs.map { |run| cells(run).values_at(*titles) }]),
           *("A run is writable by other users. Try: transfer doctor" if runs.any?(&:untrusted?))]
        end
      end

      desc "show RUN", "Show one training"
      long_desc <<~TEXT
        Prints status, dates, data, directory, the page about the trained model, and the
        command that resumes it.

          transfer runs show 20260314-150926-535897
      TEXT
      shared_options :json
      def show(id)
        run = find(id)
        output(plain(run)) { [Table.render(cells(run).to_a), *("Next: transfer resume #{run}" if run.resumable?)] }
      end

      desc "rm RUN...", "Remove trainings"
      long_desc <<~TEXT
        Removes their directories, with models and checkpoints. A running training is
        never removed.

          transfer runs rm 20260314-150926-535897
      TEXT
      shared_options :json
      def rm(id, *ids)
        removed = [id, *ids].map { |name| find(name) }.each(&:remove)
        output(removed.map { |run| plain(run) }) { removal(removed) }
      end

      desc "prune", "Remove trainings by age or total size"
      long_desc <<~TEXT
        --max-size removes the least recently used: finished trainings first, then
        interrupted ones.

          transfer runs prune
          transfer runs prune --older-than 30d
          transfer runs prune --max-size 2GB --dry-run

        Without an option it applies the limits that also hold at the start of each
        training: finished runs go after 30 days without use if their model was saved
        elsewhere, others after 90 days (TRANSFER_RUNS_KEEP); above 5 GB
        (TRANSFER_RUNS_LIMIT), finished runs that were not used for a week.
      TEXT
      shared_options :max_size, :older_than
      option :dry_run, type: :boolean, desc: "Print what would be removed"
      shared_options :json
      def prune
        removed = Run.prune(max_size: amount(:max_size, :bytes, "a size such as 500MB"),
                            older_than: amount(:older_than, :seconds, "a time such as 30d"),
                            dry_run: options[:dry_run] || false)
        output(removed.map { |run| plain(run) }) { removal(removed) }
      end

      private

      def find(id)
        runs = Transfer.runs
        near = Suggestion.nearest(id, runs.map(&:id))
        runs.find { |run| run.id == id } ||
          raise(ConfigurationError, %(there is no run "#{id}"#{%(, did you mean "#{near}"?) if near}))
      end

      def removal(runs)
        verb = options[:dry_run] ? "Would remove" : "Removed"
        runs.map { |run| "#{verb} #{run}, #{run.status}, #{Amounts.size(run.size)}" }
            .push("#{verb} #{runs.size} #{runs.one? ? 'run' : 'runs'}, #{Amounts.size(runs.sum(&:size))}")
      end

      def cells(run)
        { "run" => run.id, "status" => [run.status, *("saved" if run.saved?)].join(", "),
          "started" => minute(run.created_at), "last used" => minute(run.used_at), "size" => Amounts.size(run.size),
          "backbone" => run.backbone, "data" => run.data || ("rows" if run.backbone), "done" => done(run),
          "directory" => run.path,
          "report" => run.report }.compact
      end

      def minute(time) = time&.localtime&.strftime("%F %R")

      def done(run)
        return unless run.resumable?

        run.step ? "epoch #{run.epoch} of #{run.epochs}, #{run.step.to_s.tr('_', '-')}" : "no epoch yet"
      end

      def plain(run) = run.to_h.transform_values { |value| value.is_a?(Time) ? value.iso8601 : value }
    end

    class Root
      desc "runs COMMAND", "List, show and remove trainings"
      long_desc <<~TEXT
        Each training has a directory in ~/.local/share/transfer/runs, or TRANSFER_HOME:
        with its checkpoint until it is finished, then with its model and a report.
      TEXT
      subcommand "runs", Runs
    end
    private_constant :Runs
  end
end
