# frozen_string_literal: true

module Transfer
  # Predicts for one record.
  class PredictJob < ActiveJob::Base
    queue_as { Rails.settings.queue }
    retry_on Overloaded, WorkerCrashed, TimeoutError, wait: :polynomially_longer, attempts: 10
    # A locked database
    retry_on ActiveRecord::StatementInvalid, wait: :polynomially_longer, attempts: 5
    # The file is uploaded after the commit.
    retry_on(ActiveStorage::FileNotFoundError, wait: 3.seconds, attempts: 5) { nil }
    discard_on ActiveJob::DeserializationError
    # Whatever ends the job is a state of the record.
    after_discard do |job, error|
      record, name = job.arguments
      record.prediction_for(name).fail(error) if record && !error.is_a?(ActiveJob::DeserializationError)
    end

    # @param record [ActiveRecord::Base]
    # @param name [String]
    def perform(record, name)
      record.prediction_for(name).predict!
    end
  end
end
