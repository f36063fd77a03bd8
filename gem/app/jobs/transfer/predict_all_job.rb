# frozen_string_literal: true

module Transfer
  # Predicts for all records of a class in batches; a job for each part, so that a deploy repeats one batch at most.
  class PredictAllJob < ActiveJob::Base
    BATCH = 64

    queue_as { Rails.settings.queue }
    retry_on Overloaded, WorkerCrashed, TimeoutError, wait: :polynomially_longer, attempts: 10
    # A locked database
    retry_on ActiveRecord::StatementInvalid, wait: :polynomially_longer, attempts: 5

    # @param class_name [String]
    # @param name [String]
    # @param range [Array(Object, Object), nil] the first and the last id
    def perform(class_name, name, range)
      first, last = range
      return if first.nil?

      kind = class_name.constantize
      key = kind.arel_table[kind.primary_key]
      records = kind.where(key.gteq(first)).where(key.lteq(last)).order(kind.primary_key).limit(BATCH).to_a
      return if records.empty?

      Rails::PredictMany.new(kind.prediction_options(name), records).perform
      after = kind.where(key.gt(records.last.id)).where(key.lteq(last)).minimum(kind.primary_key)
      PredictAllJob.perform_later(class_name, name, [after, last]) if after
    end
  end
end
