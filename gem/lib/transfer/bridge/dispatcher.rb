# frozen_string_literal: true

module Transfer
  module Bridge
    # From the id of a message to the call that waits for it. When the connection ends, every call hears of it.
    class Dispatcher
      # @yieldparam message [Message::Request, Message::Response, Message::Notification] to be sent
      def initialize(&send)
        @post = send
        @mutex = Mutex.new
        @calls = {}
        @questions = Questions.new(&send)
        @last_id = -1
        @opened = @answered = 0
        @used = now
      end

      # Requests, and answers to them, so far, and when the last answer came (monotonic). Who only looks ({Look}) is not
      # counted.
      attr_reader :opened, :answered, :used

      # Sends a request.
      # @param unless_running [Array<String>] not beside a call of these names
      # @param words (see Call#initialize)
      # @return [Call, nil] nil if there are to be no more calls, or if a call of these names is running
      def open(name, params, unless_running: [], **words)
        call = nil
        id = @mutex.synchronize do
          return if @ended || (@closed && name != Doubt::QUESTION) || running?(unless_running)

          @opened += 1 unless name == Look::METHOD
          free = next_id
          @calls[free] = call = Call.new(name, params, **words) { cancel(free) }
          free
        end
        post_request(id, name, params)
        call
      end

      # @param message [Message::Request, Message::Response, Message::Notification] from the worker
      # @raise [ProtocolError] if it is none that could come now
      def receive(message)
        case message
        when Message::Response then answer(message)
        when Message::Notification then tell(message)
        when Message::Request then @questions.receive(message) { |stream| call_with(stream) }
        end
      end

      # No more calls; those in flight go on.
      def retire = @mutex.synchronize { @closed = true }

      # No more calls; those in flight end with `error`.
      def close(error)
        calls = @mutex.synchronize do
          @closed = @ended = true
          @calls.values.tap { @calls.clear }
        end
        calls.each { |call| call.fail(error) }
      end

      def closed? = @mutex.synchronize { @closed }

      # @return [Integer] calls in flight
      def in_flight = @calls.size

      private

      def next_id
        @last_id = (@last_id + 1) & Message::MAX_ID
        @calls.key?(@last_id) ? next_id : @last_id
      end

      def running?(names) = @calls.each_value.any? { |call| names.include?(call.name) }

      # A value that can't be sent is the caller's: nothing has left yet. A caller who is interrupted has not got the
      # call, and can't cancel it.
      def post_request(id, name, params)
        sent = false
        @post.call(Message::Request.new(id, name, params))
        sent = true
      rescue ProtocolError
        @mutex.synchronize { @calls.delete(id) }
        raise
      ensure
        cancel(id) unless sent || !@calls.key?(id)
      end

      def call_with(stream) = @mutex.synchronize { @calls.each_value.find { |call| call.streams.key?(stream) } }

      def cancel(id) = @post.call(Message::Notification.new("cancel", { "call" => id }))

      def answer(response)
        call = @mutex.synchronize { @calls.delete(response.id) }
        raise ProtocolError, "a response to request #{response.id}, which is not open" unless call || @closed

        note_answer unless call&.name == Look::METHOD
        response.error ? call&.fail(RemoteErrors.parse(call.name, response.error)) : call&.succeed(response.result)
      end

      def note_answer
        @answered += 1
        @used = now
      end

      def tell(notification)
        unless notification.name == "event"
          raise ProtocolError, "unknown notification #{Plain.brief(notification.name)}"
        end

        id, event = notification.params.values_at("call", "event")
        raise ProtocolError, "the event of a notification is #{event.class}, expected a map" unless event.is_a?(Hash)

        call = @mutex.synchronize { @calls[id] }
        raise ProtocolError, "an event of call #{Plain.brief(id)}, which is not open" unless call || @closed

        call&.event(event)
      end

      def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
