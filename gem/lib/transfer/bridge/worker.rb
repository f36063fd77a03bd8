# frozen_string_literal: true

module Transfer
  module Bridge
    # A place for a worker: it is started with the first call and replaced when it has ended, whether it crashed, was
    # stopped, or had been kept for long enough.
    class Worker
      # @yieldreturn [Launch] how to start the process, asked each time
      def initialize(&launch)
        @launch = launch
        @mutex = Mutex.new
        @crash_loop = CrashLoop.new
        @former = []
        @starts = 0
      end

      # @param words (see Connection#open)
      # @return [Call] sent to a worker that lives
      # @raise [Cancelled] once it was stopped
      def call(name, params, **words)
        loop do
          connection = connect
          connection.ready!
          call = connection.open(name, params, **words)
          return call if call
        end
      end

      # @return [Call, nil] nil if that would start a process, or if one of the calls `unless_running` is running
      def call_if_free(name, params, unless_running:, **words)
        connection = @mutex.synchronize { @connection }
        return unless connection&.ready?

        connection.ready!
        connection.open(name, params, unless_running:, **words)
      end

      def ready? = @connection&.ready? || false

      def pid = @mutex.synchronize { @connection.pid if @connection&.ready? }

      def stop(...)
        connections = @mutex.synchronize do
          @stopped = true
          all.tap do
            @former = []
            @connection = nil
          end
        end
        connections.each { |connection| connection.stop(...) }
      end

      def abandon = all.each(&:abandon)

      # @return [Hash{Symbol => Object}]
      def stats
        connections, restarts = @mutex.synchronize { [all.select(&:alive?), [@starts - 1, 0].max] }
        processes = connections.map { |each| { **each.stats, **Look.at(each) } }
        { processes:, restarts:, crashes: @crash_loop.total }
      end

      private

      def connect
        @mutex.synchronize do
          raise Cancelled, "the worker was shut down" if @stopped
          return @connection if @connection && !@connection.closed?

          # It may still be busy with calls of before.
          @former = all.select(&:alive?)
          @starts += 1
          @connection = Connection.new(@launch.call, @crash_loop)
        end
      end

      def all = [*@former, @connection].compact
    end
  end
end
