# frozen_string_literal: true

module Transfer
  module Bridge
    # The worker's requests to us: for the rows of a stream.
    class Questions
      # That may wait for an answer at once. The worker asks one at a time for each of its calls.
      MOST_OPEN = 100
      # Rows that the worker may ask for at once; it asks for 64.
      MOST_ROWS = 1000
      # What rows may be asked to have as inputs; nil means images.
      MODALITIES = [nil, "image", "text", "table"].freeze
      private_constant :MODALITIES

      # @yieldparam message [Message::Response] to be sent
      def initialize(&post)
        @post = post
        @mutex = Mutex.new
        @open = Set.new
      end

      # @param request [Message::Request]
      # @yieldparam stream [String]
      # @yieldreturn [Call, nil] the call with that stream
      # @raise [ProtocolError] if the request is open already, or too many are
      def receive(request)
        note(request.id)
        stream, max, modality = request.params.values_at("stream", "max", "modality")
        call = yield stream
        wrong = wrong_with(request.name, call, stream, max, modality)
        return refuse(request, wrong) if wrong

        call.streams[stream].ask(max, modality || "image") do |rows, done, error|
          give_rows(request, call, rows, done, error)
        end
      end

      private

      def note(id)
        @mutex.synchronize do
          raise ProtocolError, "request #{id} is already open" unless @open.add?(id)
          raise ProtocolError, "more than #{MOST_OPEN} requests are open" if @open.size > MOST_OPEN
        end
      end

      # @return [String, nil]
      def wrong_with(name, call, stream, max, modality)
        return "unknown method #{Plain.brief(name)}" unless name == "next_rows"
        return "unknown stream #{Plain.brief(stream)}" unless call

        rows = max.is_a?(Integer) && max.between?(1, MOST_ROWS)
        return "max is #{Plain.brief(max)}, expected 1 to #{MOST_ROWS}" unless rows

        "unknown modality #{Plain.brief(modality)}" unless MODALITIES.include?(modality)
      end

      # Called by the thread that reads the rows.
      def give_rows(request, call, rows, done, error)
        return reply(request, nil, { "rows" => rows, "done" => done }) unless error
        return refuse(request, "the call has ended", type: "Cancelled") if error.is_a?(Source::Left)

        call.blame(error)
        message = error.message.dup.force_encoding(Encoding::UTF_8).scrub
        refuse(request, "the data raised #{error.class}: #{message}", type: "DataError")
      rescue ProtocolError => unsendable
        raise if error

        give_rows(request, call, [], true, unsendable)
      end

      def refuse(request, message, type: "ProtocolError")
        reply(request, { "type" => type, "message" => message, "details" => {} }, nil)
      end

      def reply(request, error, result)
        @mutex.synchronize { @open.delete(request.id) }
        @post.call(Message::Response.new(request.id, error, result))
      end
    end
  end
end
