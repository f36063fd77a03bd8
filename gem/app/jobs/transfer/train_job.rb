# frozen_string_literal: true

module Transfer
  # Trains a model on its examples and publishes the version. When the process is about to end, the job stops and is
  # enqueued again; another process, on any machine, resumes the training with the same result.
  #
  # @example
  #   Photo.train_prediction(:kind)   # enqueues it
  class TrainJob < ActiveJob::Base
    queue_as { Rails.settings.training_queue }
    discard_on ActiveJob::DeserializationError

    # @param run [Rails::Run]
    def perform(run)
      Rails::Run.requeue_lost
      return unless run.begin!

      version = Rails::Training.new(run).perform
      run.update!(status: "succeeded", version:, finished_at: Time.current, error: nil)
      run.checkpoint.purge_later
      promote(run.model, version)
    rescue Rails::Training::Interrupted
      run.update!(status: "interrupted")
      TrainJob.set(wait: 5.seconds).perform_later(run)
    rescue Cancelled
      run.update!(status: "cancelled", finished_at: Time.current)
    rescue Error, ActiveStorage::FileNotFoundError, Rails::PredictedInput::Missing => error
      run.update!(status: "failed", error: error.message, finished_at: Time.current)
    rescue StandardError => error
      run.update!(status: "failed", error: "#{error.class}: #{error.message}", finished_at: Time.current)
      raise
    end

    private

    def promote(model, version)
      model.promote!(version)
    rescue Rails::NotPromoted => error
      ::Rails.logger.warn("transfer: #{error.message}")
    end
  end
end
