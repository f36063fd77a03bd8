# frozen_string_literal: true

module Transfer
  module Rails
    # Trains for a run and keeps its state in the database: about every two seconds, not with each event.
    class Training
      # Seconds between two looks at the shutdown of this process.
      TICK = 0.5
      private_constant :TICK

      # A training left for another process to resume.
      class Interrupted < Error; end

      # @param example [Example]
      # @return [Object] the input of its record
      def self.input_of(example)
        options = example.record.class.predictions_by_name.each_value.find { |one| one.model == example.model.name }
        PredictedInput.new(example.record, options.from).value
      end

      # @param run [Run] taken by this process
      def initialize(run)
        @run = run
        @model = run.model
      end

      # @return [Version]
      # @raise [Interrupted] if the process is to end; the run can be resumed
      # @raise [Transfer::Cancelled] if the run was cancelled
      # @raise [Transfer::Error] if the training failed
      def perform
        @run.update!(examples: snapshot) unless @run.examples
        job = start
        watch(job)
        trained = job.value
        record(job)
        Version.publish(@run, trained)
      rescue Cancelled
        raise unless @leaving

        upload
        raise Interrupted, "run #{@run.id} is resumed by another process"
      end

      private

      def start
        folder = Checkpoint.restore(@run)
        # The attachment was compared with the digest in the database, and a folder here is this application's own.
        return Transfer.resume_async(folder, trust: true, quiet: true, data: rows) if folder

        @run.recipe_class.train_async(quiet: true, data: rows)
      end

      # Without it, the training can be resumed on this machine alone: another one starts anew.
      def upload
        Checkpoint.upload(@run)
      rescue SystemCallError, ActiveStorage::Error => error
        ::Rails.logger.error("transfer: the checkpoint of run #{@run.id} is not uploaded: #{error.message}")
      end

      # Ids, labels and splits of the examples, so that a resumed training has the same whatever has been labelled
      # meanwhile.
      def snapshot
        @model.divide!.examples.order(:id).pluck(:id, :label, :split)
      end

      def rows
        Enumerator.new do |to|
          @run.examples.each_slice(256) do |some|
            found = Example.where(id: some.map(&:first)).includes(:record, :model).index_by(&:id)
            some.each do |id, label, split|
              example = found[id]
              next unless example&.record

              to << { input: Training.input_of(example), label: regression? ? Float(label) : label, split: }
            end
          end
        end
      end

      def regression? = @run.recipe_class.to_h[:task].to_s == "regression"

      def watch(job)
        written = 0
        until Executor.permit_reload { job.wait(TICK) }
          leave(job) if !@leaving && Shutdown.begun?
          next if now - written < Rails.settings.progress_every

          written = now
          record(job)
          job.cancel if Run.where(id: @run.id, cancel_requested: true).exists?
        end
      rescue Exception # rubocop:disable Lint/RescueException -- also Interrupt and the end of a thread
        job&.cancel
        job&.wait(10)
        raise
      end

      def leave(job)
        @leaving = true
        job.cancel
      end

      # A locked database delays the next state, and ends no training.
      def record(job)
        # Not through the record: `cancel_requested` belongs to others.
        Run.where(id: @run.id).update_all(
          core_run: job.run_id, progress: job.progress.to_h, history: job.history,
          warnings: [*job.warnings, *unknown_labels],
          heartbeat_at: Time.current, updated_at: Time.current
        )
        @run.core_run = job.run_id
      rescue Busy => error
        ::Rails.logger.warn("transfer: the state of run #{@run.id} is not written: #{error.message}")
      end

      # Held-out labels that no training example has, as after a label was renamed in the application.
      def unknown_labels
        return if regression?

        @unknown_labels ||= begin
          training, held_out = @run.examples.partition { |_, _, split| split == "train" }
          (held_out.map(&:second).uniq - training.map(&:second)).map do |label|
            "no training example has the held-out label #{label}. Fix, if it was renamed: " \
              "Transfer::Rails.model(#{@model.name.inspect}).rename_label!(#{label.inspect}, …)"
          end
        end
      end

      def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
