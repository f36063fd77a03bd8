# frozen_string_literal: true

module Transfer
  module CLI
    # The loss of a training by epoch, as a line of small bars.
    module Sparkline
      BARS = "▁▂▃▄▅▆▇█"
      # Bars of a line, and the fewest epochs of one.
      WIDTH = 60
      FEWEST = 3
      private_constant :BARS, :WIDTH, :FEWEST

      class << self
        # @param history [Array<Hash{Symbol => Object}>] of a model
        # @return [Array<String>] a line for each step with at least 3 epochs
        def lines(history)
          epochs = history.select { |entry| entry[:epoch] && entry[:loss]&.finite? }
          steps = epochs.group_by { |entry| entry[:step].to_s }.select { |_, entries| entries.size >= FEWEST }
          steps.map { |step, entries| line(step, entries.map { |entry| entry[:loss] }) }
        end

        private

        def line(step, losses)
          range = [losses.first, losses.last].map { |loss| format("%.4g", loss) }.join(" to ")
          "Loss of #{step.tr('_', ' ')}, #{losses.size} epochs: #{bars(losses)} #{range}"
        end

        def bars(losses)
          count = [losses.size, WIDTH].min
          shown = Array.new(count) { |place| losses[place * (losses.size - 1) / (count - 1)] }
          low, high = shown.minmax
          span = [high - low, Float::MIN].max
          shown.map { |loss| BARS[((loss - low) / span * (BARS.size - 1)).round] }.join
        end
      end
    end
    private_constant :Sparkline
  end
end
