# frozen_string_literal: true

module Transfer
  module Bridge
    # From the id of a message to the call that waits for it. When the connection ends, every call hears of it.
    class Dispatcher
      # @yieldparam bytes [String] a frame to be sent
      def initialize(&send)
        @send = send
        @mutex = Mutex.new
        @calls = {}
        @last_id = -1
      end

      # Sends a request.
      # @param unless_running [String, nil] not beside a call of that name
      # @return [Call, nil] nil if the connection has ended, or a call of that name is running
      def open(name, params, streams: {}, unless_running: nil)
        id = @mutex.synchronize { next_id }
        call = Call.new(name, streams:) { send(Message::Notification.new("cancel", { "call" => id })) }
        frame = Frame.encode(Message::Request.new(id, name, params).to_wire)
        @mutex.synchronize do
          return if @closed || (unless_running && @calls.each_value.any? { |other| other.name == unless_running })

          @calls[id] = call
          @send.call(frame)
        end
        call
      end

      # @param message [Message::Request, Message::Response, Message::Notification] from the worker
      def receive(message)
        case message
        when Message::Response then answer(message)
        when Message::Notification then tell(message)
        when Message::Request then serve(message)
        end
      end

      # No more calls; those in flight end with `error`.
      def close(error)
        calls = @mutex.synchronize do
          @closed = true
          @calls.values.tap { @calls.clear }
        end
        calls.each { |call| call.fail(error) }
      end

      # @return [Boolean] true if there was nothing in flight; then there will be no more calls
      def close_if_idle
        @mutex.synchronize do
          @closed = true if @calls.empty?
          @closed
        end
      end

      def closed? = @mutex.synchronize { @closed }

      private

      def next_id
        @last_id = (@last_id + 1) & Message::MAX_ID
        @calls.key?(@last_id) ? next_id : @last_id
      end

      def answer(response)
        call = @mutex.synchronize { @calls.delete(response.id) } or return
        response.error ? call.fail(RemoteErrors.parse(response.error)) : call.succeed(response.result)
      end

      def tell(notification)
        return unless notification.name == "event"

        @mutex.synchronize { @calls[notification.params["call"]] }&.event(notification.params["event"])
      end

      def serve(request)
        return refuse(request, "unknown method #{request.name.inspect}") unless request.name == "next_rows"

        stream, max = request.params.values_at("stream", "max")
        call = @mutex.synchronize { @calls.each_value.find { |open| open.streams.key?(stream) } }
        return refuse(request, "unknown stream #{stream.inspect}") unless call

        call.streams[stream].ask(max) { |rows, done, error| send_rows(request, call, rows, done, error) }
      end

      def send_rows(request, call, rows, done, error)
        return send(Message::Response.new(request.id, nil, { "rows" => rows, "done" => done })) unless error
        return refuse(request, "the call has ended", type: "Cancelled") if error.is_a?(Source::Left)

        call.abort(error)
        message = error.message.dup.force_encoding(Encoding::UTF_8).scrub
        refuse(request, "the data raised #{error.class}: #{message}", type: "DataError")
      rescue ProtocolError => unsendable
        raise if error

        send_rows(request, call, [], true, unsendable)
      end

      def refuse(request, message, type: "ProtocolError")
        send(Message::Response.new(request.id, { "type" => type, "message" => message, "details" => {} }, nil))
      end

      def send(message) = @send.call(Frame.encode(message.to_wire))
    end
  end
end
