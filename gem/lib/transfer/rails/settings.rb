# frozen_string_literal: true

module Transfer
  module Rails
    # `config.transfer` in an application.
    #
    # @example Access for administrators, in config/initializers/transfer.rb
    #   Rails.application.config.transfer.access = ->(request) { User.find_by(id: request.session[:user_id])&.admin? }
    class Settings
      # @return [#call, nil] gets the request and returns whether the dashboard opens; nil: {#password} decides
      attr_accessor :access
      # @return [String, nil] of the dashboard's basic authentication, whose name is `transfer`; nil: closed
      attr_accessor :password
      # @return [Symbol, String] of jobs that predict
      attr_accessor :queue
      # @return [Symbol, String] of jobs that train
      attr_accessor :training_queue
      # @return [Numeric] seconds between two writes of the state of a training
      attr_accessor :progress_every
      # @return [Numeric] seconds without a heartbeat after which a training counts as interrupted
      attr_accessor :lost_after
      # @return [Numeric] seconds for which a process may serve the previous version after a promotion
      attr_accessor :check_every
      # @return [Float] share of the examples that are held out
      attr_accessor :held_out
      # @return [#call, nil] returns whether this process is to end soon; nil: asks the adapter of Active Job
      attr_accessor :stopping

      def initialize
        @queue = :default
        @training_queue = :default
        @progress_every = 2
        @lost_after = 60
        @check_every = 1
        @held_out = 0.2
      end
    end
  end
end
