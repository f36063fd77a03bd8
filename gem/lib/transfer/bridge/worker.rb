# frozen_string_literal: true

module Transfer
  module Bridge
    # A place for a worker: the process is started with the first call and replaced when it has ended, whether it
    # crashed, was stopped, or had been idle.
    class Worker
      # @yieldreturn [Connection::Launch] how to start the process, asked each time
      def initialize(&launch)
        @launch = launch
        @mutex = Mutex.new
      end

      # @return [Call] sent to a worker that lives
      def call(name, params, streams: {})
        loop do
          connection = connect
          connection.ready!
          call = connection.open(name, params, streams:)
          return call if call
        end
      end

      # @return [Call, nil] nil if that would start a process, or if a call named `unless_running` is running
      def call_if_free(name, params, streams:, unless_running:)
        connection = @mutex.synchronize { @connection }
        connection.open(name, params, streams:, unless_running:) if connection&.ready?
      end

      def ready? = @mutex.synchronize { @connection&.ready? } || false

      def pid = @mutex.synchronize { @connection.pid if @connection&.ready? }

      def stop(...)
        @mutex.synchronize { @connection.tap { @connection = nil } }&.stop(...)
      end

      def abandon = @connection&.abandon

      private

      def connect
        @mutex.synchronize do
          @connection = Connection.new(@launch.call) if @connection.nil? || @connection.closed?
          @connection
        end
      end
    end
  end
end
