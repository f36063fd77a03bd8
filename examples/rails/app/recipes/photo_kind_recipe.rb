# frozen_string_literal: true

class PhotoKindRecipe < Transfer::Recipe
  backbone "mobilenet_v2"
end
