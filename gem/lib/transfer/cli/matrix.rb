# frozen_string_literal: true

module Transfer
  module CLI
    # The confusion matrix of a classification as a table.
    module Matrix
      # Classes of the largest table; characters of a column's label.
      MOST_CLASSES = 12
      WIDTH = 12
      private_constant :MOST_CLASSES, :WIDTH

      # @param metrics [Hash{Symbol => Object}] of {Model#evaluate}
      # @return [String, nil] rows of true, columns of predicted classes; nil for another task or too many classes
      def self.render(metrics)
        counts, classes = metrics.values_at(:confusion_matrix, :per_class)
        return if counts.nil? || classes.nil? || counts.size > MOST_CLASSES

        labels = classes.map { |row| Plain.printable(row[:label]) }
        head = labels.map { |label| label.size > WIDTH ? "#{label[0, WIDTH - 1]}…" : label }
        Table.render([["truth / predicted", *head], *labels.zip(counts).map(&:flatten)])
      end
    end
    private_constant :Matrix
  end
end
