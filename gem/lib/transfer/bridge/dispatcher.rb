# frozen_string_literal: true

module Transfer
  module Bridge
    # Assigns ids to requests and routes received messages to the calls that wait for them. When the connection ends,
    # every open call fails.
    class Dispatcher
      # The health check; may be sent after {#retire}.
      PING = "ping"
      # Statistics of the worker's predictions; not counted as a use of the worker.
      SERVING = "serving"

      # @return [Integer] number of requests so far
      attr_reader :opened
      # @return [Integer] number of responses so far
      attr_reader :answered

      # @yieldparam message [Message::Response, Message::Notification] to be sent
      def initialize(&send)
        @send = send
        @mutex = Mutex.new
        @calls = {}
        @row_requests = RowRequests.new(&send)
        @last_id = -1
        @opened = @answered = 0
        @used = now
      end

      # Registers a call.
      # @param unless_running [Array<String>] methods beside which it must not run
      # @param options (see Call#initialize)
      # @yieldparam request [Message::Request] to be sent
      # @return [Call, nil] nil if no calls are accepted any more, or if a call of these methods is running
      def open(name, params, unless_running: [], **options, &)
        call = nil
        id = @mutex.synchronize do
          return if @ended || (@closed && name != PING) || running?(unless_running)

          @opened += 1 unless name == SERVING
          free = next_id
          @calls[free] = call = Call.new(name, params, **options) { cancel(free) }
          free
        end
        send_request(Message::Request.new(id, name, params), &)
        call
      end

      # @param message [Message::Request, Message::Response, Message::Notification] from the worker
      # @raise [ProtocolError] if the message is not valid in the current state
      def receive(message)
        case message
        when Message::Response then settle(message)
        when Message::Notification then deliver_event(message)
        when Message::Request then @row_requests.receive(message) { |stream| call_with(stream) }
        end
      end

      # Accepts no more calls; open ones continue.
      def retire = @mutex.synchronize { @closed = true }

      # Accepts no more calls; open ones fail with `error`.
      def close(error)
        calls = @mutex.synchronize do
          @closed = @ended = true
          @calls.values.tap { @calls.clear }
        end
        calls.each { |call| call.fail(error) }
      end

      def closed? = @mutex.synchronize { @closed }

      # @return [Float] seconds since the last response, 0 while calls are open
      def idle_s = busy? ? 0 : now - @used

      # @return [Integer] number of open calls
      def in_flight = @calls.size

      def busy? = @calls.any?

      private

      def next_id
        @last_id = (@last_id + 1) & Message::MAX_ID
        @calls.key?(@last_id) ? next_id : @last_id
      end

      def running?(names) = @calls.each_value.any? { |call| names.include?(call.name) }

      # A request that can't be encoded was not sent: the call is dropped. If the caller is interrupted, it has not
      # received the call and can't cancel it.
      def send_request(request)
        sent = false
        yield request
        sent = true
      rescue ProtocolError
        @mutex.synchronize { @calls.delete(request.id) }
        raise
      ensure
        cancel(request.id) unless sent || !@calls.key?(request.id)
      end

      def call_with(stream) = @mutex.synchronize { @calls.each_value.find { |call| call.streams.key?(stream) } }

      def cancel(id) = @send.call(Message::Notification.new("cancel", { "call" => id }))

      def settle(response)
        call = @mutex.synchronize { @calls.delete(response.id) }
        raise ProtocolError, "a response to request #{response.id}, which is not open" unless call || @closed

        count_response unless call&.name == SERVING
        return call&.succeed(response.result) unless response.error

        call&.fail(Message::RemoteErrors.parse(call.name, response.error))
      end

      def count_response
        @answered += 1
        @used = now
      end

      def deliver_event(notification)
        unless notification.name == "event"
          raise ProtocolError, "unknown notification #{Plain.brief(notification.name)}"
        end

        id, event = notification.params.values_at("call", "event")
        raise ProtocolError, "the event of a notification is #{event.class}, expected a map" unless event.is_a?(Hash)

        call = @mutex.synchronize { @calls[id] }
        raise ProtocolError, "an event of call #{Plain.brief(id)}, which is not open" unless call || @closed

        call&.receive_event(event)
      end

      def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

      # The worker's requests for the rows of a stream.
      class RowRequests
        # Limit of open requests. The worker sends one at a time for each of its calls.
        MAX_OPEN = 100
        # Limit of rows per request; the worker requests 64.
        MAX_ROWS = 1000
        # Modalities of the requested inputs; nil means images.
        MODALITIES = [nil, "image", "text", "table", "auto"].freeze
        private_constant :MAX_OPEN, :MAX_ROWS, :MODALITIES

        # @yieldparam message [Message::Response] to be sent
        def initialize(&send)
          @send = send
          @mutex = Mutex.new
          @open = Set.new
        end

        # @param request [Message::Request]
        # @yieldparam stream [String]
        # @yieldreturn [Call, nil] the call with that stream
        # @raise [ProtocolError] if the request is open already, or too many are
        def receive(request)
          register(request.id)
          stream, max, modality = request.params.values_at("stream", "max", "modality")
          call = yield stream
          problem = validate(request.name, call, stream, max, modality)
          return refuse(request, problem) if problem

          call.streams[stream].request(max, modality || "image") do |rows, done, error|
            send_rows(request, call, rows, done, error)
          end
        end

        private

        def register(id)
          @mutex.synchronize do
            raise ProtocolError, "request #{id} is already open" unless @open.add?(id)
            raise ProtocolError, "more than #{MAX_OPEN} requests are open" if @open.size > MAX_OPEN
          end
        end

        # @return [String, nil] what is wrong with the request
        def validate(name, call, stream, max, modality)
          return "unknown method #{Plain.brief(name)}" unless name == "next_rows"
          return "unknown stream #{Plain.brief(stream)}" unless call

          valid = max.is_a?(Integer) && max.between?(1, MAX_ROWS)
          return "max is #{Plain.brief(max)}, expected 1 to #{MAX_ROWS}" unless valid

          "unknown modality #{Plain.brief(modality)}" unless MODALITIES.include?(modality)
        end

        # Called by the thread that reads the rows.
        def send_rows(request, call, rows, done, error)
          return reply(request, nil, { "rows" => rows, "done" => done }) unless error
          return refuse(request, "the call has ended", type: "Cancelled") if error.is_a?(Source::StreamClosed)

          call.record_local_error(error)
          message = error.message.dup.force_encoding(Encoding::UTF_8).scrub
          refuse(request, "the data raised #{error.class}: #{message}", type: "DataError")
        rescue ProtocolError => unsendable
          raise if error

          send_rows(request, call, [], true, unsendable)
        end

        def refuse(request, message, type: "ProtocolError")
          reply(request, { "type" => type, "message" => message, "details" => {} }, nil)
        end

        def reply(request, error, result)
          @mutex.synchronize { @open.delete(request.id) }
          @send.call(Message::Response.new(request.id, error, result))
        end
      end
      private_constant :RowRequests
    end
  end
end
