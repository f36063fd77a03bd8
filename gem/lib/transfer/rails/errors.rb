# frozen_string_literal: true

module Transfer
  module Rails
    # A training of the model has not ended yet.
    class TrainingUnderway < Error; end

    # Matches errors of a database that is locked or can't be reached, which pass by waiting.
    module Busy
      # @param error [Exception]
      # @return [Boolean]
      def self.===(error)
        case error
        when ActiveRecord::LockWaitTimeout, ActiveRecord::Deadlocked, ActiveRecord::StatementTimeout,
             ActiveRecord::ConnectionNotEstablished then true
        else defined?(SQLite3::BusyException) && error.cause.is_a?(SQLite3::BusyException)
        end
      end
    end

    # A version is worse than the live one, or the model has no previous version.
    class NotPromoted < Error; end
  end
end
