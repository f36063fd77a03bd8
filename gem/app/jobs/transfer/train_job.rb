# frozen_string_literal: true

module Transfer
  # Trains a model on its examples and publishes the version. When the process is about to end, the job stops and is
  # enqueued again; another process, on any machine, resumes the training with the same result. From Rails 8.1 on it is
  # a continuation with the step `train`.
  #
  # @example
  #   Photo.train_prediction(:kind)   # enqueues it
  class TrainJob < ActiveJob::Base
    CONTINUABLE = ActiveJob.const_defined?(:Continuable)
    private_constant :CONTINUABLE
    include ActiveJob::Continuable if CONTINUABLE

    queue_as { Rails.settings.training_queue }
    discard_on ActiveJob::DeserializationError

    # @param run [Rails::Run]
    def perform(run)
      CONTINUABLE ? step(:train) { train(run) } : train(run)
    end

    private

    def train(run)
      Rails::Run.requeue_lost
      return unless run.begin!

      # A version is there already if the process was killed after its publication.
      promote(run.model, run.version || Rails::Training.new(run).perform)
      run.update!(status: "succeeded", finished_at: Time.current, error: nil)
      run.checkpoint.purge_later
    rescue Rails::Training::Interrupted
      run.update!(status: "interrupted")
      CONTINUABLE ? interrupt!(reason: :stopping) : retry_job(wait: 5.seconds)
    rescue Cancelled
      run.update!(status: "cancelled", finished_at: Time.current)
    rescue Error, ActiveStorage::FileNotFoundError, Rails::PredictedInput::Missing => error
      run.update!(status: "failed", error: error.message, finished_at: Time.current)
    rescue Rails::Busy
      # The run counts as lost after a while, and is resumed.
      raise
    rescue StandardError => error
      run.update!(status: "failed", error: "#{error.class}: #{error.message}", finished_at: Time.current)
      raise
    end

    def promote(model, version)
      model.promote!(version)
    rescue Rails::NotPromoted => error
      ::Rails.logger.warn("transfer: #{error.message}")
    end
  end
end
