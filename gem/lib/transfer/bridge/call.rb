# frozen_string_literal: true

module Transfer
  module Bridge
    # One call in flight: the thread that reads settles it, the caller's thread waits for it.
    class Call
      attr_reader :name, :streams

      # @param params [Hash] of the request
      # @param streams [Hash{String => Source::RowStream}] rows that the worker may request
      # @param awaited [Boolean] true: the caller only waits; its events go to {Telemetry}
      # @yield cancels the call on the worker; called at most once
      def initialize(name, params = {}, streams: {}, awaited: false, &send_cancel)
        @name = name
        @params = params
        @streams = streams
        @awaited = awaited
        @send_cancel = send_cancel
        @events = EventQueue.new
        @mutex = Mutex.new
        @settled = ConditionVariable.new
      end

      # Yields the events of this call, until the call has ended.
      def each_event(&) = @events.each(&)

      # @param timeout [Numeric, nil] seconds
      # @return [Boolean] true if the call has ended, false after `timeout` seconds
      def wait(timeout = nil)
        streams.empty? ? settled?(timeout) : Executor.permit_reload { settled?(timeout) }
      end

      # @param timeout [Numeric, nil] seconds; after that the call is cancelled and a late response is ignored
      # @return the result, validated against the schema of its method
      # @raise [Error] the error of the response or of the worker's exit
      # @raise [TimeoutError]
      # @raise [ProtocolError] for a result or an event that does not match its schema
      # @raise the exception given to {#record_local_error}
      def value(timeout = nil)
        unless wait(timeout)
          cancel
          @on_timeout&.call
          raise TimeoutError, "#{name} took longer than #{timeout} s and was cancelled"
        end

        result, error = @outcome
        raise @local_error if @local_error
        raise with_ruby_backtrace(error) if error

        @checked ||= MethodSchemas.check_result(name, @params, result)
        result
      end

      def done? = !@outcome.nil?

      # Asks the worker to stop; the call then ends with {Cancelled}, unless it has just finished.
      def cancel
        send_cancel = @mutex.synchronize { @send_cancel.tap { @send_cancel = nil } unless @outcome }
        send_cancel&.call
      end

      # Makes {#value} raise an exception of this process, however the call ends. The first one counts.
      def record_local_error(exception) = @local_error ||= exception

      # Cancels the call because of an exception of this process, which {#value} raises.
      def abort(exception)
        record_local_error(exception)
        cancel
      end

      # The methods below belong to the channel.

      # Has the waiting thread read, until this call has ended or the deadline has passed.
      # @yieldparam deadline [Float, nil] monotonic time
      def read_with(&read) = @read = read

      # The block is called after a timeout.
      def on_timeout(&on_timeout) = @on_timeout = on_timeout

      # An event that does not match its schema fails the call.
      # @param event [Hash]
      def receive_event(event)
        MethodSchemas.check_event(name, event)
        event = event.transform_values { |value| value.is_a?(String) ? Plain.printable(value) : value }
        @awaited ? Telemetry.event(event) : @events << event
      rescue ProtocolError => error
        cancel
        fail(error)
      end

      def succeed(result) = settle([result, nil])

      def fail(error) = settle([nil, error])

      private

      def settled?(timeout)
        deadline = timeout && (now + timeout)
        @read&.call(deadline) unless @outcome
        @mutex.synchronize do
          until @outcome
            seconds_left = deadline && (deadline - now)
            return false if seconds_left&.negative?

            @settled.wait(@mutex, seconds_left)
          end
        end
        true
      end

      def settle(outcome)
        @mutex.synchronize do
          return if @outcome

          @outcome = outcome
          @settled.broadcast
        end
        @events.close
        streams.each_value(&:stop)
      end

      def with_ruby_backtrace(error)
        frames = error.is_a?(RemoteError) ? error.python_backtrace : []
        error.set_backtrace(Backtrace.with_python(frames))
        error
      end

      def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

      # Events of a call that were not consumed yet. Consecutive progress events of one step are merged into the latest,
      # so that the queue stays short.
      class EventQueue
        def initialize
          @mutex = Mutex.new
          @changed = ConditionVariable.new
          @events = []
          @closed = false
        end

        # @param event [Hash]
        def <<(event)
          @mutex.synchronize do
            return self if @closed

            @events.pop if superseded?(@events.last, event)
            @events << event
            @changed.signal
          end
          self
        end

        # No events follow.
        def close
          @mutex.synchronize do
            @closed = true
            @changed.broadcast
          end
        end

        # Yields all events, also future ones, until it is closed.
        def each
          while (event = Executor.permit_reload { shift })
            yield event
          end
        end

        private

        def shift
          @mutex.synchronize do
            @changed.wait(@mutex) while @events.empty? && !@closed
            @events.shift
          end
        end

        def superseded?(last, event)
          last && [last, event].all? { |each| each["event"] == "progress" } && last["step"] == event["step"]
        end
      end
      private_constant :EventQueue
    end
  end
end
