# frozen_string_literal: true

module Transfer
  # The embeddings of many inputs, computed a batch at a time.
  class Embeddings
    # @param batches [Input::Batches]
    # @param width [Integer] numbers per input, according to the model's file
    # @yieldparam inputs [Array] a batch, as the wire carries it
    # @yieldreturn [Tensor] a row for each
    def initialize(batches, width, &ask)
      @batches = batches
      @width = width
      @ask = ask
    end

    # @return [Array<Array<Float>>]
    # @raise [DataError] if an input can't be read
    def to_a = parts.flat_map { |rows| rows.to_a.tap { rows.release } }

    # @return [Tensor]
    # @raise [DataError] if an input can't be read
    def to_tensor
      tensors = parts
      return Tensor.new(dtype: "float32", shape: [0, @width], bytes: "") if tensors.empty?

      Tensor.concat(tensors).tap { |whole| tensors.each { |part| part.release unless part.equal?(whole) } }
    end

    private

    def parts
      tensors = @batches.map { |batch| embed(batch) }
      widths = tensors.map { |rows| rows.shape.last }.uniq
      return tensors if widths.size < 2

      raise ProtocolError, "embed: embeddings of #{widths.join(' and ')} numbers in one call, expected one width. " \
                           "Try again: the model's file may have changed meanwhile"
    end

    def embed(batch)
      unreadable = batch.find(&:error)
      raise unreadable.error if unreadable

      @ask.call(batch.map(&:wire))
    rescue DataError => error
      raise error, @batches.recount(error.message, batch), cause: nil
    end
  end
  private_constant :Embeddings
end
