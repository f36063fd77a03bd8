# frozen_string_literal: true

module Transfer
  module Bridge
    # One call in flight: whoever reads fills it, the caller's thread waits for it.
    class Call
      attr_reader :name, :streams

      # @param params [Hash] of the request
      # @param streams [Hash{String => Source::Pump}] rows the worker may ask for
      # @param awaited [Boolean] true: the caller only waits; nobody but the logger will want its events
      # @yield tells the worker to stop; called at most once
      def initialize(name, params = {}, streams: {}, awaited: false, &tell)
        @name = name
        @params = params
        @streams = streams
        @awaited = awaited
        @tell = tell
        @events = Events.new
        @mutex = Mutex.new
        @settled = ConditionVariable.new
      end

      # Yields what the worker tells about this call, until the call has ended.
      def each_event(&) = @events.each(&)

      # @return [Boolean] true if the call has ended, false after `timeout` seconds
      def wait(timeout = nil)
        streams.empty? ? ended?(timeout) : Executor.permit_reload { ended?(timeout) }
      end

      # @param timeout [Numeric, nil] seconds; after that the call is cancelled and a late answer is ignored
      # @return the result, once it has the shape of its method's
      # @raise [Error] what the worker or its end reported, [TimeoutError], what was given to {#blame}, [ProtocolError]
      #   for a result or an event of another shape
      def value(timeout = nil)
        unless wait(timeout)
          cancel
          @late&.call
          raise TimeoutError, "#{name} took longer than #{timeout} s and was cancelled"
        end

        result, error = @outcome
        raise @blamed if @blamed
        raise told_by_user_lines(error) if error

        @checked ||= Shapes.check_result(name, @params, result)
        result
      end

      def done? = !@outcome.nil?

      # Asks the worker to stop; the call then ends with {Cancelled}, unless it was just done.
      def cancel
        tell = @mutex.synchronize { @tell.tap { @tell = nil } unless @outcome }
        tell&.call
      end

      # The call fails because of an exception on this side, which {#value} raises.
      def blame(exception) = @blamed ||= exception

      # Stops the call because of an exception on this side, which {#value} raises.
      def abort(exception)
        blame(exception)
        cancel
      end

      # The rest belongs to the connection.

      # Whoever waits reads, until this call has ended or `limit` has come.
      # @yieldparam limit [Float, nil]
      def read_by(&read) = @read = read

      # Called when a caller has waited for as long as it would.
      def when_late(&late) = @late = late

      # An event of another shape than its kind's ends the call.
      # @param event [Hash]
      def event(event)
        Shapes.check_event(name, event)
        event = event.transform_values { |value| value.is_a?(String) ? Plain.printable(value) : value }
        @awaited ? Telemetry.event(event) : @events << event
      rescue ProtocolError => error
        cancel
        fail(error)
      end

      def succeed(result) = settle([result, nil])

      def fail(error) = settle([nil, error])

      private

      def ended?(timeout)
        limit = timeout && (now + timeout)
        @read&.call(limit) unless @outcome
        @mutex.synchronize do
          until @outcome
            rest = limit && (limit - now)
            return false if rest&.negative?

            @settled.wait(@mutex, rest)
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

      def told_by_user_lines(error)
        frames = error.is_a?(RemoteError) ? error.python_backtrace : []
        error.set_backtrace(Backtrace.with_python(frames))
        error
      end

      def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
