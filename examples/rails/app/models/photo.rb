# frozen_string_literal: true

class Photo < ApplicationRecord
  has_one_attached :file
  has_prediction :kind, from: :file, labels: :species, accept: 0.8

  validates :file, presence: true
end
